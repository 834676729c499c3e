-- Logins that have their rights from the roles for people and their tools, and may hold every connection. Those of
-- Kamailio, API and worker need as many as they need.
with ours as (
    select oid, rolname in ('registrations_report', 'registrations_import') as limited
    from pg_roles
    where rolname = any (%(roles)s)
)
select quote_ident(r.rolname)
from pg_roles r
where r.rolcanlogin and r.rolconnlimit = -1 and not r.rolsuper
    and exists (select from ours o where o.limited and pg_has_role(r.oid, o.oid, 'member'))
    and not exists (select from ours o where not o.limited and pg_has_role(r.oid, o.oid, 'member'))
order by 1
