-- The answers of two nodes are noted one after the other, or neither would see that the other's was the last. All the
-- flushes that they concern, in one order: so nobody waits for a binding while another waits for him.
select from flush
where id in (
    select unnest(%(flush_ids)s::text[])
    union
    select f.flush_id from flush_binding f where f.id = any (%(ids)s)
)
order by id
for update
