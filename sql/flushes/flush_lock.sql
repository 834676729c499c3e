-- Stores the answers of two nodes one after the other; otherwise neither would see that the other's was the last one. Locks
-- all flushes concerned in one order, so that two sessions cannot deadlock.
select from flush
where id in (
    select unnest(%(flush_ids)s::text[])
    union
    select f.flush_id from flush_binding f where f.id = any (%(ids)s)
)
order by id
for update
