-- What the operator attached to our tables and views, or to our columns of location, and PostgreSQL would drop with them
-- without a word: triggers, rules, policies, publications; on location indexes, constraints and statistics, too.
with ours (relation) as (
    select to_regclass(name)::oid from unnest(%(relations)s::text[]) name where to_regclass(name) is not null
),
columns (relation, number) as (
    select attrelid, attnum from pg_attribute where attrelid = to_regclass('location') and attname = any (%(columns)s::text[])
)
select pg_describe_object('pg_trigger'::regclass, t.oid, 0)
from pg_trigger t
join ours o on o.relation = t.tgrelid
join pg_proc p on p.oid = t.tgfoid
where not t.tgisinternal and not (
    p.proname = any (%(functions)s::text[])
    and p.pronamespace = (select relnamespace from pg_class where oid = to_regclass('location'))
)
union all
select pg_describe_object('pg_rewrite'::regclass, r.oid, 0)
from pg_rewrite r
join ours o on o.relation = r.ev_class
where r.rulename <> '_RETURN'
union all
select pg_describe_object('pg_policy'::regclass, p.oid, 0)
from pg_policy p
join ours o on o.relation = p.polrelid
union all
select pg_describe_object('pg_publication_rel'::regclass, p.oid, 0)
from pg_publication_rel p
join ours o on o.relation = p.prrelid
union all
select distinct pg_describe_object(d.classid, d.objid, 0)
from pg_depend d
join columns c on d.refclassid = 'pg_class'::regclass and d.refobjid = c.relation and d.refobjsubid = c.number
left join pg_class i on d.classid = 'pg_class'::regclass and i.oid = d.objid
where d.deptype = 'a' and d.objsubid = 0
    and d.classid in ('pg_class'::regclass, 'pg_constraint'::regclass, 'pg_statistic_ext'::regclass)
    and coalesce(i.relkind in ('i', 'I') and i.relname <> all (%(indexes)s::text[]), true)
order by 1
