-- Those of our roles that the server lacks. They can log in once they have a password. Kamailio, API and worker have no limit
-- of connections: their own settings say how many they need, and a limit that is too low would keep phones out. The two for
-- people and their tools have one. The other limits of registrations_report are defaults, which a session may change: a long
-- statement, or a transaction that nobody ends, keeps VACUUM from what phones leave behind. A role that is there already is
-- the operator's, and so is every later change of one.
do $$
declare
    role_name text;
begin
    foreach role_name in array array[
        'registrations_kamailio', 'registrations_api', 'registrations_sync', 'registrations_report',
        'registrations_import'
    ] loop
        continue when to_regrole(role_name) is not null;
        execute format('create role %I login', role_name);
        if role_name = 'registrations_report' then
            alter role registrations_report connection limit 20;
            alter role registrations_report set statement_timeout = '1min';
            alter role registrations_report set idle_in_transaction_session_timeout = '1min';
            if (select rolsuper from pg_roles where rolname = current_user) then
                alter role registrations_report set temp_file_limit = '1GB';
            end if;
        elsif role_name = 'registrations_import' then
            alter role registrations_import connection limit 5;
        end if;
    end loop;
end $$
