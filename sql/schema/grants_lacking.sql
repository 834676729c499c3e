-- Which of these privileges a role lacks, and the command that gives each. What is written as `subscriber` has another name
-- where kamdbctl's own is. Functions that have no rights but the caller's are everybody's, unless the operator's default
-- privileges say otherwise.
with ours (schema, role) as (
    select
        (select relnamespace from pg_class where oid = to_regclass('location')),
        (select oid from pg_roles where rolname = %(role)s)
),
wanted (kind, object, part, privilege) as (
    select * from unnest(%(kinds)s::text[], %(objects)s::text[], %(parts)s::text[], %(privileges)s::text[])
    union all
    select 'function', p.oid::regprocedure::text, null, 'EXECUTE'
    from pg_proc p
    where p.pronamespace = (select schema from ours)
        and p.proname = any (%(open_functions)s::text[])
        and not p.prosecdef and p.prorettype <> 'trigger'::regtype
)
select
    coalesce(r.shown, w.object) || coalesce(' (' || w.part || ')', '') || ': ' || lower(w.privilege collate "C"),
    'grant ' || lower(w.privilege collate "C") || coalesce(' (' || quote_ident(w.part) || ')', '') || ' on ' || r.named || ' to '
        || quote_ident(%(role)s)
from wanted w
cross join ours o
cross join lateral (
    select c.oid, c.oid::regclass::text, case c.relkind when 'S' then 'sequence ' else '' end
        || format('%%I.%%I', n.nspname, c.relname)
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where w.kind in ('table', 'column', 'sequence')
        and c.oid = coalesce(
            case w.object when 'subscriber' then to_regclass('directory_subscriber') end, to_regclass(w.object)
        )
    union all
    select p.oid, w.object,
        format('function %%I.%%I(%%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    where w.kind = 'function' and p.oid = to_regprocedure(w.object)
    union all
    select n.oid, 'schema ' || n.nspname, format('schema %%I', n.nspname)
    from pg_namespace n
    where w.kind = 'schema' and n.oid = o.schema
    union all
    select d.oid, 'database ' || d.datname, format('database %%I', d.datname)
    from pg_database d
    where w.kind = 'database' and d.datname = current_database()
    union all
    select null, null, null
    order by 1 nulls last
    limit 1
) r (oid, shown, named)
left join pg_attribute a on a.attrelid = r.oid and a.attname = w.part and w.kind = 'column'
where not coalesce(
    case w.kind
        when 'table' then has_table_privilege(o.role, r.oid, w.privilege)
        when 'column' then has_column_privilege(o.role, r.oid, a.attnum, w.privilege)
        when 'sequence' then has_sequence_privilege(o.role, r.oid, w.privilege)
        when 'function' then has_function_privilege(o.role, r.oid, w.privilege)
        when 'schema' then has_schema_privilege(o.role, r.oid, w.privilege)
        when 'database' then has_database_privilege(o.role, r.oid, w.privilege)
    end,
    false
)
order by 1
