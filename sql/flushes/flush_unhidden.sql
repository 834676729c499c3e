-- The rows that were locked when they should have been hidden.
select f.id
from unnest(%(ids)s::bigint[]) as wanted (id)
join flush_binding f on f.id = wanted.id
join location l on l.ruid = f.ruid
where registration_is(registration_epoch(l.last_modified), l.cseq, l.callid, f.modified_epoch, f.cseq, f.seen_callid)
    and (l.flushed_epoch, l.flushed_cseq, l.flushed_callid) is distinct from (f.modified_epoch, f.cseq, f.seen_callid)
