-- What the catalogs tell; nothing of it depends on how many rows there are.
select
    (
        select format_type(atttypid, atttypmod) from pg_attribute
        where attrelid = 'location'::regclass and attname = 'expires'
    ) as expires_type,
    kamailio_timezone() as timezone,
    extract(epoch from now() at time zone kamailio_timezone() - now() at time zone 'UTC')::float8 as zone_offset,
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
    -- the widths of Kamailio's own schema, the same from 5.6 to 6.1 (utils/kamctl/postgres/usrloc-create.sql)
    (
        select array_agg(format('%s is %s, not varchar(%s)', a.attname, format_type(a.atttypid, a.atttypmod), w.width))
        from (
            values ('ruid', 64), ('username', 64), ('domain', 64), ('contact', 512), ('received', 128), ('path', 512),
                ('callid', 255), ('user_agent', 255), ('socket', 64), ('instance', 255)
        ) w (name, width)
        join pg_attribute a on a.attrelid = 'location'::regclass and a.attname = w.name
        where a.atttypid = 'varchar'::regtype and a.atttypmod - 4 between 0 and w.width - 1
    ) as narrow_columns
