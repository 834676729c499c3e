-- Tombstones: these rows show no more, unless they register again; what has registered meanwhile is left alone.
with doomed as materialized (
    select l.id, f.modified_epoch, f.cseq
    from unnest(%(ids)s::bigint[]) as wanted (id)
    join flush_binding f on f.id = wanted.id
    join location l on l.ruid = f.ruid
    where registration_is(registration_epoch(l.last_modified), l.cseq, f.modified_epoch, f.cseq)
        and (l.flushed_epoch, l.flushed_cseq) is distinct from (f.modified_epoch, f.cseq)
    order by l.id
    for update of l {locking}
)
update location l set flushed_epoch = d.modified_epoch, flushed_cseq = d.cseq
from doomed d
where l.id = d.id
