-- What depends on a column (none if number is null), or on a view that uses it, and could not be put back as it is, or not
-- in an instant. Indexes on id are built anew beforehand. For other columns PostgreSQL keeps an index, unless it has an
-- expression or a condition.
with held (class, object, part) as (
    select 'pg_class'::regclass, %(table_oid)s::oid, %(number)s::integer where %(number)s::integer is not null
    union all
    select 'pg_class'::regclass, v.oid, null from unnest(%(views)s::oid[]) v (oid)
    union all
    select 'pg_type'::regclass, unnest(array[t.oid, t.typarray]), null
    from pg_class c
    join pg_type t on t.oid = c.reltype
    where c.oid = any (%(views)s)
),
dependent as (
    select d.classid, d.objid, d.objsubid, h.part is null as on_view
    from held h
    join pg_depend d on d.refclassid = h.class and d.refobjid = h.object and d.refobjsubid = coalesce(h.part, d.refobjsubid)
    where d.deptype <> 'i'
)
select pg_describe_object(o.class, o.object, o.part)
from (
    select
        case when r.oid is null then d.classid else 'pg_class'::regclass end as class,
        coalesce(r.ev_class, d.objid) as object,
        d.objsubid as part
    from dependent d
    left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
    left join pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid
    left join pg_index i on i.indexrelid = c.oid
    left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
    left join pg_attrdef f on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid
    where case
        when r.oid is not null then not r.ev_class = any (%(views)s)
        when d.on_view then d.classid not in ('pg_attrdef'::regclass, 'pg_trigger'::regclass)
        when i.indexrelid is not null then
            not (%(rebuilt)s or c.relname = any (%(anew)s) or (i.indexprs is null and i.indpred is null))
        when k.oid is not null and k.contype = 'n' then false
        when k.oid is not null and %(rebuilt)s then
            k.contype <> 'p' or k.conkey <> array[%(number)s::smallint] or k.condeferrable
        when k.oid is not null then k.contype not in ('p', 'u')
        when f.oid is not null then f.adrelid <> %(table_oid)s or f.adnum <> %(number)s
        -- the sequence of its default is handed over; another one that it owns would be dropped with it
        when c.relkind = 'S' then %(rebuilt)s and not exists (
            select from pg_attrdef e
            join pg_depend u on u.classid = 'pg_attrdef'::regclass and u.objid = e.oid
            where e.adrelid = %(table_oid)s and e.adnum = %(number)s
                and u.refclassid = 'pg_class'::regclass and u.refobjid = c.oid
        )
        else true
    end
    union
    -- Views that another role owns or has granted, temporary ones, those with security labels, those of an extension.
    select 'pg_class'::regclass, c.oid, 0
    from pg_class c
    where c.oid = any (%(views)s)
        and (
            c.relpersistence = 't'
            or not pg_has_role(c.relowner, 'member')
            or exists (select from aclexplode(c.relacl) x where x.grantor <> c.relowner)
            or exists (
                select from pg_attribute a, aclexplode(a.attacl) x where a.attrelid = c.oid and x.grantor <> c.relowner
            )
            or exists (select from pg_seclabel s where s.objoid = c.oid)
            or exists (select from pg_depend e where e.objid = c.oid and e.deptype = 'e')
        )
    union
    -- A partitioned table, or one that inherits.
    select 'pg_class'::regclass, c.oid, 0
    from pg_class c
    where c.oid = %(table_oid)s and %(number)s::integer is not null
        and (c.relkind <> 'r' or exists (select from pg_inherits h where c.oid in (h.inhrelid, h.inhparent)))
    union
    -- A publication would send the second column, too, and its subscribers stop at a column that they do not have.
    select 'pg_publication'::regclass, p.oid, 0
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    join pg_publication_tables t on t.schemaname = n.nspname and t.tablename = c.relname
    join pg_publication p on p.pubname = t.pubname
    where %(rebuilt)s and c.oid = %(table_oid)s
) o
order by 1
