-- These bindings registered again after their flush was requested, so the flush no longer concerns them and lists show them.
-- If the clock was set back since, the new REGISTER seems older than the flush: then remove the row's tombstone. A locked
-- row keeps it until a REGISTER is later than the flush.
with newer as materialized (
    delete from flush_binding where id = any (%(ids)s)
    returning flush_id, shown, ruid, modified_epoch, cseq, seen_epoch, seen_cseq, seen_callid
),
hidden as materialized (
    select l.id
    from newer n
    join location l on l.ruid = n.ruid
    where (l.flushed_epoch, l.flushed_cseq) = (n.modified_epoch, n.cseq)
        and l.flushed_callid is not distinct from n.seen_callid
        and (registration_epoch(l.last_modified), l.cseq, l.callid)
            is distinct from (n.seen_epoch, n.seen_cseq, coalesce(n.seen_callid, l.callid))
        and registration_is(
            registration_epoch(l.last_modified), l.cseq, l.callid, l.flushed_epoch, l.flushed_cseq, l.flushed_callid
        )
    order by l.id
    for update of l skip locked
),
unhidden as (
    update location l set flushed_epoch = null, flushed_cseq = null, flushed_callid = null
    from hidden h where l.id = h.id
)
update flush q set superseded = q.superseded + n.count
from (select flush_id, count(*) filter (where shown) as count from newer group by flush_id) n
where q.id = n.flush_id
