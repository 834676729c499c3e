-- usrloc's timer has written these rows anew (db_mode 2) with a REGISTER from before the flush, since no node has their
-- binding: they go on being hidden.
update flush_binding f set modified_epoch = registration_epoch(l.last_modified), cseq = l.cseq
from location l, flush q
where f.id = any (%(ids)s)
    and l.ruid = f.ruid
    and q.id = f.flush_id
    and registration_epoch(l.last_modified) < floor(extract(epoch from q.requested_at))
    and not registration_is(registration_epoch(l.last_modified), l.cseq, f.modified_epoch, f.cseq)
returning f.id
