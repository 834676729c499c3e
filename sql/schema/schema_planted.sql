-- Functions and operators of other roles in the session's schemas that PostgreSQL may prefer to its own of that name, such as
-- public.lower(varchar) to lower(text); and a table where our record is looked for. Those of a superuser are trusted, and of
-- the owners of the schema, the database and the table location. Only catalogs are read, whose types have operators of their
-- own.
select pg_describe_object(o.class, o.object, 0), r.rolname
from (
    select 'pg_proc'::regclass, p.oid, p.pronamespace, p.proowner
    from pg_proc p
    where exists (select from pg_proc b where b.proname = p.proname and b.pronamespace = 'pg_catalog'::regnamespace)
    union all
    select 'pg_operator'::regclass, p.oid, p.oprnamespace, p.oprowner
    from pg_operator p
    where exists (select from pg_operator b where b.oprname = p.oprname and b.oprnamespace = 'pg_catalog'::regnamespace)
    union all
    select 'pg_class'::regclass, c.oid, c.relnamespace, c.relowner
    from pg_class c
    where c.relname = 'registrations_migration'
) o (class, object, namespace, owner)
join pg_namespace n on n.oid = o.namespace
join pg_roles r on r.oid = o.owner
where n.nspname = any (current_schemas(false))
    and not r.rolsuper
    and r.rolname <> current_user
    and o.owner <> n.nspowner
    and o.owner <> (select d.datdba from pg_database d where d.datname = current_database())
    and not exists (select from pg_class c where c.oid = to_regclass('location') and c.relowner = o.owner)
    and (current_setting('is_superuser')::boolean or not pg_has_role(o.owner, 'member'))
order by 1
