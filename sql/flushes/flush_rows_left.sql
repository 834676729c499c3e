-- Which of these bindings still have a row, and whether it is unchanged: then another session had locked it. Otherwise it
-- has registered again.
select f.id, registration_is(
    registration_epoch(l.last_modified), l.cseq, l.callid, f.modified_epoch, f.cseq, f.seen_callid
) as held
from flush_binding f
join location l on l.ruid = f.ruid
where f.id = any (%(ids)s)
