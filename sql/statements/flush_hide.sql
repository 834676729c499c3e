-- Tombstones: these rows show no more, unless they register again. We wait for whoever holds a row at this moment, and
-- look again then: what has registered meanwhile is left alone. Always in the same order, so that flushes cannot lock
-- each other out.
with gone as materialized (
    select l.id
    from location l
    join unnest(%(ruids)s::text[], %(modified)s::bigint[]) as flushed (ruid, modified_epoch)
        on flushed.ruid = l.ruid
    where registration_epoch(l.last_modified) <= flushed.modified_epoch
    order by l.id
    for update of l
)
update location l set flushed_at = to_timestamp(registration_epoch(l.last_modified))
from gone
where l.id = gone.id
