-- Kamailio's tables, found as Kamailio finds them, with what could keep them from being migrated.
select
    t.name,
    n.nspname as schema,
    r.rolname as owner,
    -- with the owner's rights, which a mere member may not have: who made that role is one since PostgreSQL 16
    pg_has_role(c.relowner, 'usage') as is_ours_to_change,
    case c.relkind
        when 'r' then null
        when 'p' then 'a partitioned table'
        when 'v' then 'a view'
        when 'm' then 'a materialized view'
        when 'f' then 'a foreign table'
        else 'no table'
    end as other_kind,
    c.relispartition as is_partition,
    c.relrowsecurity as hides_rows,
    array(
        select i.inhrelid::regclass::text from pg_inherits i where i.inhparent = c.oid and c.relkind <> 'p' order by 1
    ) as children,
    array(
        select i.inhparent::regclass::text from pg_inherits i
        where i.inhrelid = c.oid and not c.relispartition
        order by 1
    ) as parents
from unnest(%(tables)s::text[]) t (name)
join pg_class c on c.oid = to_regclass(t.name)
join pg_namespace n on n.oid = c.relnamespace
join pg_roles r on r.oid = c.relowner
order by t.name
