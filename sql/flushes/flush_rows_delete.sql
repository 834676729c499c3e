-- Deletes rows that Kamailio left behind, for example after an outage of PostgreSQL: no node has their binding. If one
-- registers at this moment, usrloc's next write inserts it again (db_check_update).
with left_behind as materialized (
    select l.id
    from location l
    join flush_binding f on f.ruid = l.ruid
    where f.id = any (%(ids)s)
        and f.settled_at is not null
        and registration_is(
            registration_epoch(l.last_modified), l.cseq, l.callid, f.modified_epoch, f.cseq, f.seen_callid
        )
    order by l.id
    for update of l skip locked
)
delete from location l using left_behind where l.id = left_behind.id
