select
    (
        select format_type(atttypid, atttypmod) from pg_attribute
        where attrelid = 'location'::regclass and attname = 'expires'
    ) as expires_type,
    kamailio_timezone() as timezone,
    (
        select max(registration_epoch(last_modified)) from location
    )::float8 - extract(epoch from now())::float8 as ahead_seconds,
    (
        select extract(epoch from now())::float8 - max(registration_epoch(expires))
        from location where registration_epoch(expires) > 0
    ) as overdue_seconds,
    (
        select array_agg(indexrelid::regclass::text) from pg_index
        where indrelid in ('location'::regclass, 'location_attrs'::regclass) and not indisvalid
    ) as invalid_indexes,
    (
        select array_agg(distinct i.indexrelid::regclass::text)
        from pg_index i
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
        where i.indrelid = 'location'::regclass and a.attname in ('expires', 'last_modified', 'cseq', 'callid')
    ) as refreshed_indexes,
    (select table_version from version where table_name = 'location') as location_version,
    (select count(*) from live_location where account_id is null and realm is null) as realmless
