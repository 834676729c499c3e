-- Functions of ours that run with their owner's rights and that everybody may execute, and tables of ours with secrets on which
-- everybody has a privilege; and the commands that leave them to the roles that they are for.
select
    p.oid::regprocedure::text,
    format('revoke execute on function %%s from public', f.named) || coalesce(
        (
            select string_agg(format('; grant execute on function %%s to %%I', f.named, g.role), '')
            from unnest(%(objects)s::text[], %(roles)s::text[]) g (object, role)
            where to_regprocedure(g.object) = p.oid and to_regrole(g.role) is not null
        ),
        ''
    )
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
cross join lateral (
    select format('%%I.%%I(%%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
) f (named)
where n.oid = (select relnamespace from pg_class where oid = to_regclass('location'))
    and p.proname = any (%(names)s::text[])
    and p.prosecdef
    and has_function_privilege('public', p.oid, 'execute')
union all
select
    c.oid::regclass::text,
    format('revoke all on %%I.%%I from public', n.nspname, c.relname)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where n.oid = (select relnamespace from pg_class where oid = to_regclass('location'))
    and c.relname in ('account', 'auth_token', 'device', 'device_credentials', 'directory_subscriber', 'subscriber')
    -- not Kamailio's own subscriber, which is the operator's
    and (
        c.relname <> 'subscriber'
        or exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'device_id')
    )
    and exists (select from aclexplode(c.relacl) x where x.grantee = 0)
order by 1
