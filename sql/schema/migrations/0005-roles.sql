-- Four roles, each with the least it needs. They can log in once the operator gives them a password, or
-- can be granted to users that exist. Kamailio, API and worker have no limit of connections: their own settings say how
-- many they need, and a limit that is too low would keep phones out. ha1 is read by Kamailio alone, and hashes of tokens by
-- no role at all.

do $$
declare
    role_name text;
begin
    foreach role_name in array array[
        'registrations_kamailio', 'registrations_api', 'registrations_sync', 'registrations_report'
    ] loop
        if to_regrole(role_name) is null then
            execute format('create role %I login', role_name);
            -- People and their tools use this one. The number of connections is a limit, the others are defaults that a
            -- session may change: a statement, or a transaction that nobody ends, keeps VACUUM from what phones leave
            -- behind. A role that is there already is the operator's, and so is every later change of these.
            if role_name = 'registrations_report' then
                alter role registrations_report connection limit 20;
                alter role registrations_report set statement_timeout = '1min';
                alter role registrations_report set idle_in_transaction_session_timeout = '1min';
                if (select rolsuper from pg_roles where rolname = current_user) then
                    alter role registrations_report set temp_file_limit = '1GB';
                end if;
            end if;
        end if;
        execute format('grant connect on database %I to %I', current_database(), role_name);
        execute format('grant usage on schema %I to %I', current_schema(), role_name);
    end loop;
    execute format(
        'grant select on %s to registrations_kamailio',
        coalesce(to_regclass('directory_subscriber'), to_regclass('subscriber'))
    );
end $$;

grant select, insert, update, delete on location, location_attrs, registration_from to registrations_kamailio;
grant usage on sequence location_id_seq, location_attrs_id_seq to registrations_kamailio;
grant select on version to registrations_kamailio;

-- Who may see what, in one round trip: the token's account, and whether the wanted account lies in its tree.
-- It runs with its owner's rights, so that the API cannot read the hashes of tokens but the one it is asked about.
create function token_access(given_hash bytea, wanted_account text)
    returns table (
        token_hash bytea, account_id text, superduper_admin boolean,
        wanted_exists boolean, wanted_in_tree boolean
    )
    language sql volatile security definer set search_path from current
    begin atomic
        update auth_token t set last_used_at = now()
        where t.token_hash = given_hash
            and t.last_used_at < now() - least(interval '1 minute', t.idle_lifetime / 10)
            and (t.idle_lifetime is null or t.last_used_at + t.idle_lifetime > now());
        select
            t.token_hash, t.account_id::text, a.superduper_admin,
            exists (select from account w where w.id = wanted_account),
            exists (
                with recursive above (id, parent_id) as (
                    select w.id::text, w.parent_id::text from account w where w.id = wanted_account
                    union
                    select p.id::text, p.parent_id::text from account p join above on p.id = above.parent_id
                )
                select from above where above.id = t.account_id
            )
        from auth_token t
        join account a on a.id = t.account_id
        where t.token_hash = given_hash
            and a.enabled
            and (t.idle_lifetime is null or t.last_used_at + t.idle_lifetime > now());
    end;

revoke execute on function token_access(bytea, text) from public;

grant execute on function token_access(bytea, text) to registrations_api;
grant select on registrations, live_location, location_directory, directory, _yoyo_migration to registrations_api;
grant select (id, parent_id, name) on account to registrations_api;
grant select, update (flushed_at) on location to registrations_api;

grant select on location, live_location, location_directory, directory, registration_from, version, _yoyo_migration
    to registrations_sync;
grant update (account_id, device_id, owner_id, enriched_at, first_registered_at, flushed_at) on location
    to registrations_sync;
grant delete on location, registration_from to registrations_sync;

grant select on registrations, directory, owner, kamailio_node to registrations_report;
grant select (id, parent_id, name, realm, enabled, superduper_admin) on account to registrations_report;
