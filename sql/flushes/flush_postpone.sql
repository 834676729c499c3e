-- A node refused or did not answer. The next attempt is due after a growing pause; the caller backs off from a dead node.
update flush_binding f set
    attempts = f.attempts + 1,
    asked_at = now(),
    due_at = now() + least(power(2, least(f.attempts, 10)), %(longest_pause)s) * interval '1 second'
where f.id = any (%(ids)s)
