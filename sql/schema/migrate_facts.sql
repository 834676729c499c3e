-- Of the database and of Kamailio's tables, found as Kamailio finds them, by the session's search_path. Names are quoted as
-- commands want them.
select
    current_setting('server_encoding') as encoding,
    quote_ident(current_user) as role,
    quote_ident(current_database()) as database,
    quote_ident(current_schema()) as schema,
    coalesce(has_schema_privilege(current_schema(), 'create'), false) as may_create,
    has_database_privilege(current_database(), 'create') as may_create_schemas,
    (select rolsuper or rolcreaterole from pg_roles where rolname = current_user) as may_create_roles,
    pg_is_in_recovery() as is_standby,
    current_setting('transaction_read_only')::boolean as is_read_only,
    to_regclass('location') is not null as has_location,
    to_regclass('version') is not null as has_version,
    to_regclass('flush_binding') is not null as has_ours,
    case
        when to_regclass('location') is null or to_regclass('version') is null then null
        else (
            xpath(
                '/table/row/table_version/text()',
                query_to_xml($$select table_version from version where table_name = 'location'$$, false, false, '')
            )
        )[1]::text::integer
    end as location_version
