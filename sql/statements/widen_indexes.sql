-- The indexes that use the column id, and for each the command that builds the same on id_wide while phones register.
select
    c.relname as name,
    i.indisprimary as is_primary,
    w.name as wide_name,
    format(
        'create %%sindex concurrently %%I on %%s%%s', case when i.indisunique then 'unique ' end, w.name,
        i.indrelid::regclass,
        regexp_replace(substring(pg_get_indexdef(c.oid) from ' USING .*'), '\mid\M', 'id_wide', 'g')
    ) as build,
    (
        select b.indisvalid
        from pg_class wide
        join pg_index b on b.indexrelid = wide.oid
        where wide.relname = w.name and b.indrelid = i.indrelid
    ) as is_built
from pg_index i
join pg_class c on c.oid = i.indexrelid
cross join lateral (select (left(c.relname, 58) || '_wide')::name as name) w
where i.indrelid = %(table_oid)s
    and (
        %(number)s = any (i.indkey)
        or exists (
            select from pg_depend d
            where d.classid = 'pg_class'::regclass and d.objid = c.oid
                and d.refclassid = 'pg_class'::regclass and d.refobjid = i.indrelid and d.refobjsubid = %(number)s
        )
    )
order by c.relname
