-- Those of our roles that the server has not got, as 0005 and 0021 make them: it may have been restored without. A role that is
-- there is the operator's, with its limits.
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
