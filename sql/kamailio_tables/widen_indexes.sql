-- The indexes that use the column id, and what builds the same on id_wide while phones register.
select
    c.relname as name,
    i.indisprimary as is_primary,
    w.name as wide_name,
    format('create %%sindex concurrently %%I on %%s', case when i.indisunique then 'unique ' end, w.name, i.indrelid::regclass)
        as head,
    substring(pg_get_indexdef(c.oid) from ' USING .*') as body,
    coalesce((select t.spcname from pg_tablespace t where t.oid = c.reltablespace), '') as tablespace,
    (
        select b.indisvalid
        from pg_class wide
        join pg_index b on b.indexrelid = wide.oid
        where wide.relname = w.name and b.indrelid = i.indrelid
    ) as is_built,
    -- what is dropped with the index; without its replica identity, a published table refuses every refresh
    array(
        select k.command
        from (
            select format('alter table %%s replica identity using index %%I', i.indrelid::regclass, c.relname)
            where i.indisreplident
            union all
            select format('alter table %%s cluster on %%I', i.indrelid::regclass, c.relname)
            where i.indisclustered
            union all
            select format('alter index %%s alter column %%s set statistics %%s', c.oid::regclass, a.attnum, a.attstattarget)
            from pg_attribute a
            where a.attrelid = c.oid and a.attstattarget >= 0
            union all
            select format('comment on index %%s is %%L', c.oid::regclass, d.description)
            from pg_description d
            where d.classoid = 'pg_class'::regclass and d.objoid = c.oid and d.objsubid = 0
            union all
            select format('comment on constraint %%I on %%s is %%L', o.conname, o.conrelid::regclass, d.description)
            from pg_constraint o
            join pg_description d on d.classoid = 'pg_constraint'::regclass and d.objoid = o.oid
            where o.conindid = c.oid and o.contype = 'p'
        ) k (command)
        order by 1
    ) as kept
from pg_index i
join pg_class c on c.oid = i.indexrelid
-- A name that no other index has, however long they are.
cross join lateral (select 'id_wide_' || md5(c.relname) as name) w
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
