-- Of these bindings those whose rows are still there: whether it is as it was when its flush was asked for, so that
-- somebody held it when it was to be removed, or has registered since.
select f.id, registration_is(
    registration_epoch(l.last_modified), l.cseq, l.callid, f.modified_epoch, f.cseq, f.seen_callid
) as held
from flush_binding f
join location l on l.ruid = f.ruid
where f.id = any (%(ids)s)
