insert into flush_node as n (flush_id, node, attempts, attempted_at, confirmed_at, last_error)
select
    asked.flush_id, %(node)s, 1, now(),
    case
        when not exists (
            select from flush_binding f
            where f.flush_id = asked.flush_id
                and %(node)s = any (flush_holders(f.server_id, %(nodes)s, %(replicated)s))
                and not %(node)s = any (f.confirmed)
        ) then now()
    end,
    asked.error
from unnest(%(flush_ids)s::text[], %(errors)s::text[]) as asked (flush_id, error)
join flush q on q.id = asked.flush_id
on conflict (flush_id, node) do update set
    attempts = n.attempts + 1,
    attempted_at = now(),
    confirmed_at = excluded.confirmed_at,
    last_error = excluded.last_error
-- A confirmation stays: a worker that was frozen may store an older answer.
where n.confirmed_at is null or excluded.confirmed_at is null
