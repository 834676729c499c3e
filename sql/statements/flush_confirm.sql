-- One node is clean of these bindings. When all are that may hold one, only its row can be left.
update flush_binding f set
    confirmed = case when %(node)s = any (f.confirmed) then f.confirmed else f.confirmed || %(node)s::integer end,
    settled_at = case
        when flush_holders(f.server_id, %(nodes)s, %(replicated)s) <@ (f.confirmed || %(node)s::integer)
            then coalesce(f.settled_at, now())
        else f.settled_at
    end,
    attempts = f.attempts + 1,
    due_at = now() + greatest(%(recheck)s, least(power(2, least(f.attempts, 10)), %(longest_pause)s)) * interval '1 second'
where f.id = any (%(ids)s)
