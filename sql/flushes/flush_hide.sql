-- Sets tombstones: lists hide these rows until they register again. Skips rows that have registered meanwhile.
with doomed as materialized (
    select l.id, f.modified_epoch, f.cseq, f.seen_callid
    from unnest(%(ids)s::bigint[]) as wanted (id)
    join flush_binding f on f.id = wanted.id
    join location l on l.ruid = f.ruid
    where registration_is(
        registration_epoch(l.last_modified), l.cseq, l.callid, f.modified_epoch, f.cseq, f.seen_callid
    )
        and (l.flushed_epoch, l.flushed_cseq, l.flushed_callid) is distinct from (f.modified_epoch, f.cseq, f.seen_callid)
    order by l.id
    for update of l {locking}
)
update location l set flushed_epoch = d.modified_epoch, flushed_cseq = d.cseq, flushed_callid = d.seen_callid
from doomed d
where l.id = d.id
