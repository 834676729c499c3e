-- Rows whose binding no Kamailio has in memory any more; one that registered again since is kept.
delete from location l
using unnest(%(ruids)s::text[], %(modified)s::bigint[]) as flushed (ruid, modified_epoch)
where l.ruid = flushed.ruid and registration_epoch(l.last_modified) <= flushed.modified_epoch
