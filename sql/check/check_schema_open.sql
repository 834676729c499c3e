-- The schema of our tables, if everybody may make objects in it.
select n.nspname::text
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.oid = 'location'::regclass and has_schema_privilege('public', n.oid, 'create')
