select
    q.position, q.id, q.account_id, q.username, q.cause, q.requested_by, q.request_id, q.requested_at, q.finished_at,
    q.bindings, q.superseded,
    pending.of_shown as pending_shown,
    pending.of_all as pending,
    (
        select coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'node', n.node, 'name', k.name, 'attempts', n.attempts,
                    'attempted', floor(extract(epoch from n.attempted_at))::bigint,
                    'confirmed', floor(extract(epoch from n.confirmed_at))::bigint,
                    'error', n.last_error
                )
                order by n.node
            ),
            '[]'
        )
        from flush_node n
        left join kamailio_node k on k.server_id = n.node
        where n.flush_id = q.id
    ) as nodes
from flush q
cross join lateral (
    select
        count(*) filter (where f.shown) as of_shown,
        count(*) filter (where f.ruid is not null) as of_all
    from flush_binding f
    where f.flush_id = q.id and f.settled_at is null and not coalesce(f.server_id = any (f.confirmed), false)
) pending
where q.account_id = %(account_id)s
    and (%(flush_id)s::text is null or q.id = %(flush_id)s)
    and (%(start)s::bigint is null or q.position {bound} %(start)s)
order by q.position {direction}
limit %(limit)s::bigint
