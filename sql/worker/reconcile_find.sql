-- The last id of the next slice of the table, and the enriched rows of it that no longer agree with the directory. It only
-- reads, and ends soon, so that nobody waits for the processor.
select s.last::bigint, array(
    select e.id::bigint
    from location_enrichment e
    where e.id > %(after)s
        and e.id <= s.last
        and e.enriched_at is not null
        and (e.row_account_id, e.row_device_id, e.row_owner_id, e.row_device_state)
            is distinct from (e.account_id, e.device_id, e.owner_id, e.device_state)
    order by e.id
)
from (
    select max(id) as last from (select id from location where id > %(after)s order by id limit %(limit)s) slice
) s
