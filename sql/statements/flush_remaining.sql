-- Which of the bindings that were flushed still have their row, and did not register again since.
select l.ruid
from location l
join unnest(%(ruids)s::text[], %(modified)s::bigint[]) as flushed (ruid, modified_epoch) on flushed.ruid = l.ruid
where registration_epoch(l.last_modified) <= flushed.modified_epoch
