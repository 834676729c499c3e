update flush q set finished_at = now()
where q.id = any (%(flush_ids)s)
    and q.finished_at is null
    and not exists (select from flush_binding f where f.flush_id = q.id and f.settled_at is null)
