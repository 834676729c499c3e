select
    (
        select format_type(atttypid, atttypmod) from pg_attribute
        where attrelid = 'location'::regclass and attname = 'expires'
    ),
    kamailio_timezone(),
    (select max(registration_epoch(last_modified)) from location)::float8 - extract(epoch from now())::float8,
    (
        select array_agg(indexrelid::regclass::text) from pg_index
        where indrelid in ('location'::regclass, 'location_attrs'::regclass) and not indisvalid
    ),
    (
        select array_agg(distinct i.indexrelid::regclass::text)
        from pg_index i
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
        where i.indrelid = 'location'::regclass and a.attname in ('expires', 'last_modified', 'cseq', 'callid')
    ),
    (select table_version from version where table_name = 'location'),
    (
        select extract(epoch from now())::float8 - max(registration_epoch(expires))
        from location where registration_epoch(expires) > 0
    )
