-- What each role may do: the least that it needs. `migrate` makes the roles that the server lacks. They can log in once the
-- operator gives them a password, or they can be granted to users that exist.
-- Locks no table of Kamailio's.

-- They may log in here, whatever everybody may; and Kamailio alone reads ha1, in its own table or in ours.
do $$
declare
    roles constant text :=
        'registrations_kamailio, registrations_api, registrations_sync, registrations_report, registrations_import';
begin
    execute format('grant connect on database %I to %s', current_database(), roles);
    execute format('grant usage on schema %I to %s', current_schema(), roles);
    execute format('grant temporary on database %I to registrations_import', current_database());
    execute format(
        'grant select on %s to registrations_kamailio',
        coalesce(to_regclass('directory_subscriber'), to_regclass('subscriber'))
    );
end $$;

grant select, insert, update, delete on location, location_attrs to registrations_kamailio;
grant usage on sequence location_id_seq, location_attrs_id_seq to registrations_kamailio;
grant select on version to registrations_kamailio;

-- The API reads, and records flushes. It sees no hash of a token but the one that it asks about.
grant select
    on registrations_migration, directory, location, location_directory, live_location, registrations, registration_source,
    kamailio_node
    to registrations_api;
grant select (id, parent_id, name, realm) on account to registrations_api;
grant update (flushed_epoch, flushed_cseq, flushed_callid) on location to registrations_api;
grant select, insert, update on flush, flush_node to registrations_api;
grant select, insert, update, delete on flush_binding to registrations_api;
grant execute on function
    token_access(bytea, text), token_from_api_key(bytea, bytea, interval, jsonb), token_revoke(bytea)
    to registrations_api;

-- The worker enriches rows, carries out flushes, and removes what is expired; and `registrations-sync check` reads.
grant select
    on registrations_migration, directory, device_credentials, location, location_directory, location_enrichment, live_location,
    registration_source, kamailio_node, leading_session, report_device, version
    to registrations_sync;
grant select (id, parent_id, name, realm) on account to registrations_sync;
grant
    update (
        account_id, device_id, owner_id, device_state, enriched_at, first_registered_at, flushed_epoch, flushed_cseq,
        flushed_callid
    ),
    delete
    on location to registrations_sync;
grant insert, update, delete on registration_source to registrations_sync;
grant select, insert, update, delete on flush, flush_binding, flush_node to registrations_sync;
grant select, insert, update on leader to registrations_sync;
grant select (id, last_used_at, idle_lifetime), delete on auth_token to registrations_sync;
grant execute on function account_follow_domains() to registrations_sync;
-- How much of its range the column id has used.
grant select on sequence location_id_seq, location_attrs_id_seq to registrations_sync;
-- Whether the directory changed.
grant select on sequence directory_change to registrations_sync;

-- Reports: people and their tools.
grant select
    on registrations, report_registration, report_device, report_account, report_flush, directory, owner, flush, flush_node,
    kamailio_node
    to registrations_report;
grant select (id, parent_id, name, realm, enabled, superduper_admin) on account to registrations_report;

-- Importing a directory. It reads ha1, to see what changes, so the worker is no member unless the operator wants it to import
-- by itself: grant registrations_import to registrations_sync. It writes neither superduper_admin nor api_key_hash, so it gives
-- nobody rights of the API; nor an ID, since a token belongs to whichever account has the ID that it names.
grant select on registrations_migration to registrations_import;
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
