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
        select jsonb_object_agg(a.attname, jsonb_build_array(a.atttypmod - 4, w.width))
        from (
            values ('ruid', 64), ('username', 64), ('domain', 64), ('contact', 512), ('received', 128), ('path', 512),
                ('callid', 255), ('user_agent', 255), ('socket', 64), ('instance', 255)
        ) w (name, width)
        join pg_attribute a on a.attrelid = 'location'::regclass and a.attname = w.name
        where a.atttypid = 'varchar'::regtype and a.atttypmod - 4 between 0 and w.width - 1
    ) as narrow_columns,
    -- Of each id with half of its range used: the last one, the range, that of the column or of its sequence, and whether
    -- the sequence begins again at its end.
    (
        select jsonb_object_agg(i.table_name, jsonb_build_array(i.last, i.range, i.cycles))
        from (
            select
                a.attrelid::regclass::text as table_name,
                least(s.seqmax, case a.atttypid when 'integer'::regtype then 2147483647 end) as range,
                s.seqcycle as cycles,
                case when has_sequence_privilege(s.seqrelid, 'select') then pg_sequence_last_value(s.seqrelid) end as last
            from pg_attribute a
            left join pg_attrdef f on f.adrelid = a.attrelid and f.adnum = a.attnum
            join pg_sequence s on s.seqincrement > 0
                and exists (
                    select from pg_depend d
                    where d.refclassid = 'pg_class'::regclass
                        and (
                            (d.classid = 'pg_attrdef'::regclass and d.objid = f.oid and d.refobjid = s.seqrelid)
                            -- of an identity column
                            or (
                                d.classid = 'pg_class'::regclass and d.objid = s.seqrelid and d.deptype = 'i'
                                and d.refobjid = a.attrelid and d.refobjsubid = a.attnum
                            )
                        )
                )
            where a.attrelid in ('location'::regclass, 'location_attrs'::regclass) and a.attname = 'id'
        ) i
        where i.last >= i.range / 2
    ) as used_ids,
    (
        select array_agg(oid::regclass::text order by oid::regclass::text) from pg_class
        where oid in ('location'::regclass, 'location_attrs'::regclass) and relpersistence = 'u'
    ) as unlogged
