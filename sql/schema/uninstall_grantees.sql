-- Who has privileges on our tables and views besides their owner and our roles.
select distinct x.grantee::regrole::text
from unnest(%(relations)s::text[]) name
join pg_class c on c.oid = to_regclass(name)
cross join lateral aclexplode(c.relacl) x
where x.grantee <> 0 and x.grantee <> c.relowner and x.grantee::regrole::text !~ '^registrations_'
order by 1
