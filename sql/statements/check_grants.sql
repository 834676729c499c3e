-- Which of these privileges a role lacks. What is written as `subscriber` has another name where kamdbctl's own is.
select g.object || coalesce(' (' || g.part || ')', '') || ': ' || lower(g.privilege collate "C")
from unnest(%(kinds)s::text[], %(objects)s::text[], %(parts)s::text[], %(privileges)s::text[])
    as g (kind, object, part, privilege)
cross join lateral (
    select case when g.kind <> 'function' then coalesce(
        case g.object when 'subscriber' then to_regclass('directory_subscriber') end, to_regclass(g.object)
    ) end as relation
) r
left join pg_attribute a on a.attrelid = r.relation and a.attname = g.part and g.part is not null
where not coalesce(
    case g.kind
        when 'table' then has_table_privilege(to_regrole(%(role)s), r.relation, g.privilege)
        when 'column' then has_column_privilege(to_regrole(%(role)s), r.relation, a.attnum, g.privilege)
        when 'sequence' then has_sequence_privilege(to_regrole(%(role)s), r.relation, g.privilege)
        when 'function' then has_function_privilege(to_regrole(%(role)s), to_regprocedure(g.object), g.privilege)
    end,
    false
)
order by 1
