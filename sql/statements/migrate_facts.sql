select
    current_setting('server_encoding'),
    case
        when to_regclass('location') is null or to_regclass('version') is null then null
        else (
            xpath(
                '/row/table_version/text()',
                query_to_xml($$select table_version from version where table_name = 'location'$$, false, true, '')
            )
        )[1]::text::integer
    end
