-- The views that use a column, or any of the table if number is null, directly or through other views, in the order in
-- which they can be made. For each the command that makes it, and the commands that then restore what DROP loses:
-- everything that pg_dump would write.
with recursive holding (oid, depth) as (
    select r.ev_class, 1
    from pg_depend d
    join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
    where d.refclassid = 'pg_class'::regclass and d.refobjid = %(table_oid)s
        and d.refobjsubid = coalesce(%(number)s::integer, d.refobjsubid)
    union
    select r.ev_class, h.depth + 1
    from holding h
    join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = h.oid
    join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid and r.ev_class <> h.oid
    where h.depth < 64  -- two views may use each other by rules on INSERT, UPDATE or DELETE
),
held as (
    select c.oid, c.oid::regclass::text as name, c.relowner, c.relacl, c.reloptions, max(h.depth) as depth
    from holding h
    join pg_class c on c.oid = h.oid and c.relkind = 'v'
    group by c.oid
),
-- All privileges are revoked first: those of ALTER DEFAULT PRIVILEGES, and the owner's, who may have fewer.
privileges (oid, step, place, command) as (
    select h.oid, 2, 0, format(
        'revoke all on %%s from public, %%s', h.name, string_agg(distinct x.role::regrole::text, ', ')
    )
    from held h
    cross join lateral (
        select h.relowner
        union
        select d.grantee
        from pg_default_acl a, aclexplode(a.defaclacl) d
        where a.defaclobjtype = 'r' and a.defaclrole = (select oid from pg_roles where rolname = current_user) and d.grantee <> 0
    ) x (role)
    group by h.oid, h.name
    union all
    select h.oid, 4, x.place, format(
        'grant %%s%%s on %%s to %%s%%s', x.privilege_type, format(' (%%I)', a.attname), h.name,
        coalesce(nullif(x.grantee, 0)::regrole::text, 'public'), case when x.is_grantable then ' with grant option' end
    )
    from held h
    join pg_attribute a on a.attrelid = h.oid
    cross join lateral aclexplode(a.attacl) with ordinality x (grantor, grantee, privilege_type, is_grantable, place)
    union all
    select h.oid, 3, x.place, format(
        'grant %%s on %%s to %%s%%s', x.privilege_type, h.name,
        coalesce(nullif(x.grantee, 0)::regrole::text, 'public'), case when x.is_grantable then ' with grant option' end
    )
    from held h
    cross join lateral aclexplode(coalesce(h.relacl, acldefault('r', h.relowner)))
        with ordinality x (grantor, grantee, privilege_type, is_grantable, place)
),
commands (oid, step, place, command) as (
    select h.oid, 1, 0, format('alter view %%s owner to %%s', h.name, h.relowner::regrole) from held h
    union all
    select * from privileges
    union all
    select h.oid, 5, 0, format(
        'alter view %%s alter %%I set default %%s', h.name, a.attname, pg_get_expr(f.adbin, f.adrelid)
    )
    from held h
    join pg_attrdef f on f.adrelid = h.oid
    join pg_attribute a on a.attrelid = h.oid and a.attnum = f.adnum
    union all
    select h.oid, 6, 0, pg_get_ruledef(r.oid)
    from held h
    join pg_rewrite r on r.ev_class = h.oid and r.rulename <> '_RETURN'
    union all
    select h.oid, 6, 0, pg_get_triggerdef(t.oid)
    from held h
    join pg_trigger t on t.tgrelid = h.oid and not t.tgisinternal
    union all
    select h.oid, 7, 0, format('comment on %%s is %%L', t.what, d.description)
    from held h
    cross join lateral (
        select 'pg_class'::regclass as class, h.oid, 0 as part, 'view ' || h.name as what
        union all
        select 'pg_class'::regclass, h.oid, a.attnum, format('column %%s.%%I', h.name, a.attname)
        from pg_attribute a where a.attrelid = h.oid
        union all
        select 'pg_rewrite'::regclass, r.oid, 0, format('rule %%I on %%s', r.rulename, h.name)
        from pg_rewrite r where r.ev_class = h.oid
        union all
        select 'pg_trigger'::regclass, g.oid, 0, format('trigger %%I on %%s', g.tgname, h.name)
        from pg_trigger g where g.tgrelid = h.oid
    ) t
    join pg_description d on d.classoid = t.class and d.objoid = t.oid and d.objsubid = t.part
)
select
    h.oid,
    h.name,
    format(
        'create view %%s%%s as %%s',
        h.name, ' with (' || array_to_string(h.reloptions, ', ') || ')', pg_get_viewdef(h.oid)
    ) as definition,
    array(select c.command from commands c where c.oid = h.oid order by c.step, c.place, c.command) as commands
from held h
order by h.depth, h.name
