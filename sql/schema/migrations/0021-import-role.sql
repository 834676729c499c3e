-- Who may import a directory besides its owner. It reads ha1, to see what changes, so the worker is no member unless the
-- operator wants it to import by itself: grant registrations_import to registrations_sync.
do $$
begin
    if to_regrole('registrations_import') is null then
        create role registrations_import login connection limit 5;
    end if;
    execute format('grant connect, temporary on database %I to registrations_import', current_database());
    execute format('grant usage on schema %I to registrations_import', current_schema());
end $$;

-- What an import writes, and no more: neither superduper_admin nor api_key_hash, so this role gives nobody rights of the
-- API. Nor an ID: a token belongs to whichever account has the ID that it names.
grant select, delete on account, owner, device to registrations_import;
grant insert (id, parent_id, name, realm, enabled), update (parent_id, name, realm, enabled, automatic) on account
    to registrations_import;
grant insert (id, account_id, name), update (account_id, name) on owner to registrations_import;
grant
    insert (
        id, account_id, owner_id, name, sip_username, sip_realm, ha1, enabled, presence_id, suppress_unregister_notify,
        register_overwrite_notify
    ),
    update (
        account_id, owner_id, name, sip_username, sip_realm, ha1, enabled, presence_id, suppress_unregister_notify,
        register_overwrite_notify
    )
    on device to registrations_import;
grant select (account_id) on auth_token to registrations_import;
grant select on _yoyo_migration to registrations_import;
