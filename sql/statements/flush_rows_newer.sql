-- Which of these bindings have registered since their flush was asked for, going by their rows.
select f.id
from flush_binding f
join location l on l.ruid = f.ruid
where f.id = any (%(ids)s)
    and not registration_is(registration_epoch(l.last_modified), l.cseq, f.modified_epoch, f.cseq)
