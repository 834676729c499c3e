select
    current_setting('server_encoding'),
    current_user::text,
    has_schema_privilege(current_schema(), 'create') and not exists (
        select from pg_class where oid = to_regclass('location') and not pg_has_role(relowner, 'member')
    ),
    case
        when to_regclass('location') is null or to_regclass('version') is null then null
        else (
            xpath(
                '/table/row/table_version/text()',
                query_to_xml($$select table_version from version where table_name = 'location'$$, false, false, '')
            )
        )[1]::text::integer
    end,
    current_database()::text,
    to_regclass('location') is not null
