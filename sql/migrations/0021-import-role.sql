-- Who may import a directory besides its owner. It reads ha1, to see what changes, so the worker is no member unless the
-- operator wants it to import by itself: grant registrations_import to registrations_sync.
do $$
begin
    if to_regrole('registrations_import') is null then
        create role registrations_import login;
    end if;
    execute format('grant connect, temporary on database %I to registrations_import', current_database());
    execute format('grant usage on schema %I to registrations_import', current_schema());
end $$;

grant select, insert, update, delete on account, owner, device to registrations_import;
grant select (account_id) on auth_token to registrations_import;
grant select on _yoyo_migration to registrations_import;
