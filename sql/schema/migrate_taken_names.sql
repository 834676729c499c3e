-- What already has a name that a missing migration would give. The type of a table's rows has the table's name.
select pg_describe_object(o.class, o.object, o.part), r.rolname
from (
    select 'pg_class'::regclass, c.oid, 0, c.relowner
    from pg_class c
    where c.relnamespace = (select oid from pg_namespace where nspname = current_schema()) and c.relname = any (%(relations)s)
    union
    select
        case when y.typrelid = 0 then 'pg_type'::regclass else 'pg_class'::regclass end,
        coalesce(nullif(y.typrelid, 0), y.oid),
        0,
        y.typowner
    from pg_type y
    where y.typnamespace = (select oid from pg_namespace where nspname = current_schema()) and y.typname = any (%(types)s)
    union
    select 'pg_proc'::regclass, p.oid, 0, p.proowner
    from pg_proc p
    where p.pronamespace = (select oid from pg_namespace where nspname = current_schema()) and p.proname = any (%(functions)s)
    union
    select 'pg_class'::regclass, c.oid, a.attnum, c.relowner
    from unnest(%(columns)s::text[]) w (name)
    join pg_class c on c.relnamespace = (select oid from pg_namespace where nspname = current_schema()) and c.relname = split_part(w.name, '.', 1)
    join pg_attribute a on a.attrelid = c.oid and a.attname = split_part(w.name, '.', 2) and a.attnum > 0
    union
    select 'pg_trigger'::regclass, t.oid, 0, c.relowner
    from unnest(%(triggers)s::text[]) w (name)
    join pg_class c on c.relnamespace = (select oid from pg_namespace where nspname = current_schema()) and c.relname = split_part(w.name, '.', 1)
    join pg_trigger t on t.tgrelid = c.oid and t.tgname = split_part(w.name, '.', 2)
) o (class, object, part, owner)
join pg_roles r on r.oid = o.owner
order by 1
