-- A column of one of usrloc's tables as it is now. No row: there is no such table or column.
select
    a.attrelid as table_oid,
    a.attnum as number,
    format_type(a.atttypid, a.atttypmod) as type,
    case a.atttypid when 'varchar'::regtype then nullif(a.atttypmod, -1) - 4 end as width,
    pg_get_expr(f.adbin, f.adrelid) as default,
    s.name as sequence,
    s.type as sequence_type,
    s.highest as sequence_highest,
    case a.attidentity when 'a' then 'always' when 'd' then 'by default' end as generated,
    s.options as sequence_options,
    coalesce(s.is_owned, false) as owns_sequence,
    -- what else belongs to the column alone, and is dropped with it
    array(
        select format(
            'grant %%s (%%I) on %%s to %%s%%s', x.privilege_type, a.attname, a.attrelid::regclass,
            coalesce(nullif(x.grantee, 0)::regrole::text, 'public'), case when x.is_grantable then ' with grant option' end
        )
        from aclexplode(a.attacl) x
        order by 1
    ) || array(
        select format('comment on column %%s.%%I is %%L', a.attrelid::regclass, a.attname, t.text)
        from col_description(a.attrelid, a.attnum) t (text)
        where t.text is not null
    ) || array(
        select format('alter table %%s alter %%I set %%s', a.attrelid::regclass, a.attname, t.setting)
        from (
            select 'statistics ' || a.attstattarget where a.attstattarget >= 0
            union all
            select format('(%%s)', array_to_string(a.attoptions, ', ')) where a.attoptions is not null
        ) t (setting)
    ) || array(
        -- the sequence of an identity column is made anew with it
        select format(
            'grant %%s on sequence %%s to %%s%%s', x.privilege_type, s.name,
            coalesce(nullif(x.grantee, 0)::regrole::text, 'public'), case when x.is_grantable then ' with grant option' end
        )
        from pg_class c, aclexplode(c.relacl) x
        where c.oid = s.oid and a.attidentity <> ''
        order by 1
    ) as kept
from pg_attribute a
left join pg_attrdef f on f.adrelid = a.attrelid and f.adnum = a.attnum
left join lateral (
    select
        q.seqrelid as oid,
        q.seqrelid::regclass::text as name,
        format_type(q.seqtypid, null) as type,
        case when q.seqincrement > 0 then q.seqmax end as highest,
        format('increment %%s minvalue %%s cache %%s', q.seqincrement, q.seqmin, q.seqcache)
            || case when q.seqcycle then ' cycle' else '' end as options,
        exists (
            select from pg_depend o
            where o.classid = 'pg_class'::regclass and o.objid = q.seqrelid and o.deptype = 'a'
                and o.refclassid = 'pg_class'::regclass and o.refobjid = a.attrelid and o.refobjsubid = a.attnum
        ) as is_owned
    from pg_sequence q
    where q.seqrelid in (
        select d.refobjid from pg_depend d
        where d.classid = 'pg_attrdef'::regclass and d.objid = f.oid and d.refclassid = 'pg_class'::regclass
        union all
        select d.objid from pg_depend d
        where d.classid = 'pg_class'::regclass and d.deptype = 'i'
            and d.refclassid = 'pg_class'::regclass and d.refobjid = a.attrelid and d.refobjsubid = a.attnum
    )
) s on true
where a.attrelid = to_regclass(%(table)s) and a.attname = %(column)s and a.attnum > 0
