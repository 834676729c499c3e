-- One node does not have these bindings. Once no node that may hold a binding has it, only its row can be left, which is
-- checked later. Until then the other nodes are asked as before.
update flush_binding f set
    confirmed = case when %(node)s = any (f.confirmed) then f.confirmed else f.confirmed || %(node)s::integer end,
    settled_at = case when t.settled then coalesce(f.settled_at, now()) end,
    attempts = f.attempts + 1,
    asked_at = now(),
    due_at = case
        when t.settled
            then now()
                + greatest(%(recheck)s, least(power(2, least(f.attempts, 10)), %(longest_pause)s)) * interval '1 second'
        else f.due_at
    end
from flush_binding b
cross join lateral (
    select flush_holders(b.server_id, %(nodes)s, %(replicated)s) <@ (b.confirmed || %(node)s::integer) as settled
) t
where b.id = any (%(ids)s) and f.id = b.id
