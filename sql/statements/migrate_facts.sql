-- Of the database and of Kamailio's tables, found as Kamailio finds them, by the session's search_path.
select
    current_setting('server_encoding') as encoding,
    current_user::text as role,
    current_database()::text as database,
    current_schema()::text as schema,
    coalesce(has_schema_privilege(current_schema(), 'create'), false) as may_create,
    has_database_privilege(current_database(), 'create') as may_create_schemas,
    (select rolsuper or rolcreaterole from pg_roles where rolname = current_user) as may_create_roles,
    pg_is_in_recovery() as is_standby,
    current_setting('transaction_read_only')::boolean as is_read_only,
    to_regclass('location') is not null as has_location,
    case
        when to_regclass('location') is null or to_regclass('version') is null then null
        else (
            xpath(
                '/table/row/table_version/text()',
                query_to_xml($$select table_version from version where table_name = 'location'$$, false, false, '')
            )
        )[1]::text::integer
    end as location_version
