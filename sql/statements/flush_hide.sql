-- Tombstones: these rows show no more, unless they register again. What a SIP worker holds at this moment is registering
-- again, and left alone.
with gone as materialized (
    select l.id
    from location l
    join unnest(%(ruids)s::text[], %(modified)s::bigint[]) as flushed (ruid, modified_epoch)
        on flushed.ruid = l.ruid
    where registration_epoch(l.last_modified) <= flushed.modified_epoch
    order by l.id
    for update of l skip locked
)
update location l set flushed_at = to_timestamp(registration_epoch(l.last_modified))
from gone
where l.id = gone.id
