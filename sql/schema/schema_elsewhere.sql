-- Schemas with our migrations that this session does not look into, and the commands by which it would.
select
    n.nspname::text,
    concat_ws(
        '; ',
        case
            when not has_schema_privilege(n.oid, 'usage') then format('grant usage on schema %I to %I', n.nspname, current_user)
        end,
        case
            when quote_ident(n.nspname) <> all (regexp_split_to_array(current_setting('search_path'), '\s*,\s*'))
                then format('alter role %I in database %I set search_path = %I', current_user, current_database(), n.nspname)
        end
    )
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relname = 'registrations_migration' and c.relkind = 'r' and not n.nspname = any (current_schemas(false))
order by 1
