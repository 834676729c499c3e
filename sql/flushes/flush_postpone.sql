-- A node refused or did not answer. The pause grows; it is the caller's to leave a dead node alone altogether.
update flush_binding f set
    attempts = f.attempts + 1,
    asked_at = now(),
    due_at = now() + least(power(2, least(f.attempts, 10)), %(longest_pause)s) * interval '1 second'
where f.id = any (%(ids)s)
