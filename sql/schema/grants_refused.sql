-- Privileges on database and schema that a role lacks and this login may not give, as commands. A role that does not exist
-- yet has those of PUBLIC.
select format('grant %%s on %%s to %%I', lower(w.privilege collate "C"), o.named, w.role)
from unnest(%(roles)s::text[], %(kinds)s::text[], %(privileges)s::text[]) w (role, kind, privilege)
cross join lateral (select coalesce((select r.rolname from pg_roles r where r.rolname = w.role), 'public')) r (name)
cross join lateral (
    select
        format('database %%I', current_database()),
        has_database_privilege(r.name, current_database(), w.privilege)
            or has_database_privilege(current_database(), w.privilege || ' with grant option')
    where w.kind = 'database'
    union all
    select
        format('schema %%I', current_schema()),
        has_schema_privilege(r.name, current_schema(), w.privilege)
            or has_schema_privilege(current_schema(), w.privilege || ' with grant option')
    where w.kind = 'schema'
) o (named, given)
where not o.given
order by 1
