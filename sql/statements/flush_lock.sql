-- The answers of two nodes are noted one after the other, or neither would see that the other's was the last.
select from flush where id = any (%(flush_ids)s) order by id for update
