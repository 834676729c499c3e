-- Of each role the search_path with which its sessions begin in this database, as PostgreSQL decides it: that of the role here,
-- of the role, of the database, of all, or of the configuration, which this session knows where nothing of its own hides it.
-- One that is not there yet has none of its own; one that cannot log in has no sessions. And what is ours: the schema.
select
    w.name,
    replace(
        replace(
            coalesce(
                (
                    select substr(c.text, length('search_path=') + 1)
                    from pg_db_role_setting s
                    cross join unnest(s.setconfig) c (text)
                    where c.text like 'search\_path=%%'
                        and s.setrole in (0, coalesce(r.oid, 0))
                        and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
                    order by s.setrole = 0, s.setdatabase = 0
                    limit 1
                ),
                case
                    when not %(by_url)s and not exists (
                        select from pg_db_role_setting s
                        cross join unnest(s.setconfig) c (text)
                        where c.text like 'search\_path=%%' and s.setrole = (select oid from pg_roles where rolname = session_user)
                    ) then p.reset_val
                end,
                p.boot_val
            ),
            '"$user"', quote_ident(w.name)
        ),
        '$user', quote_ident(w.name)
    ),
    o.schema,
    format('alter role %%I in database %%I set search_path = %%I', w.name, current_database(), o.schema)
from unnest(%(roles)s::text[]) w (name)
left join pg_roles r on r.rolname = w.name
join pg_settings p on p.name = 'search_path'
join (
    select coalesce(
        (
            select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where c.oid = to_regclass('registrations_migration')
        ),
        current_schema()
    ) as schema
) o on true
where coalesce(r.rolcanlogin, true)
order by 1
