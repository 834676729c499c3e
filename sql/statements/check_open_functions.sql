-- Functions of ours that run with their owner's rights and that everybody may execute; and the commands that leave them to
-- the roles that they are for.
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
order by 1
