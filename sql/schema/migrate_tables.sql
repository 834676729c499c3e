-- What the migrations change in Kamailio's tables, as the catalogs have it now, and which of our roles exist.
with kamailio (name, relation) as (select t.name, to_regclass(t.name)::oid from unnest(%(tables)s::text[]) t (name))
select 'column' as kind, k.name as "table", a.attname::text as name, (a.atttypmod - 4)::text as value
from kamailio k
join pg_attribute a on a.attrelid = k.relation and a.attnum > 0 and not a.attisdropped
union all
select 'index', k.name, i.indexrelid::regclass::text, null
from kamailio k
join pg_index i on i.indrelid = k.relation
union all
select 'option', k.name, split_part(o.text, '=', 1), split_part(o.text, '=', 2)
from kamailio k
join pg_class c on c.oid = k.relation
cross join unnest(c.reloptions) o (text)
union all
select 'trigger', k.name, t.tgname::text, null
from kamailio k
join pg_trigger t on t.tgrelid = k.relation and not t.tgisinternal
union all
-- but not those that name the columns that they send, as they can since PostgreSQL 15
select 'publication', k.name, t.pubname::text, null
from kamailio k
join pg_class c on c.oid = k.relation
join pg_namespace n on n.oid = c.relnamespace
join pg_publication_tables t on t.schemaname = n.nspname and t.tablename = c.relname
where not exists (
    select from pg_publication p
    join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = c.oid
    where p.pubname = t.pubname and to_jsonb(r) ->> 'prattrs' is not null
)
union all
select 'role', null, r.rolname::text, null
from pg_roles r
where r.rolname = any (%(roles)s)
union all
select 'grant', k.name, x.grantee::regrole::text, x.privilege_type
from kamailio k
join pg_class c on c.oid = k.relation
cross join lateral aclexplode(c.relacl) x
where x.grantee::regrole::text = any (%(roles)s)
union all
select 'grant', k.name, x.grantee::regrole::text, x.privilege_type || ' (' || a.attname || ')'
from kamailio k
join pg_attribute a on a.attrelid = k.relation
cross join lateral aclexplode(a.attacl) x
where x.grantee::regrole::text = any (%(roles)s)
