-- The first schema of the session's search_path in which a role would find a table of one of these names, and whether our
-- migrations were applied there. That it may use ours is looked at elsewhere.
select s.schema, exists (select from pg_class c where c.relnamespace = n.oid and c.relname = 'registrations_migration')
from unnest(current_schemas(false)) with ordinality s (schema, place)
join pg_namespace n on n.nspname = s.schema
left join pg_roles r on r.rolname = %(role)s
where (s.schema = %(ours)s or r.oid is null or has_schema_privilege(r.oid, n.oid, 'usage'))
    and (s.schema = %(ours)s or exists (select from pg_class c where c.relnamespace = n.oid and c.relname = any (%(names)s)))
order by s.place
limit 1
