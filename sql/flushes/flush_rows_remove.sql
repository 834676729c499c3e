-- For db_mode 3, in which the table is the memory: removes bindings that have not registered since their flush was
-- requested. Skips locked rows until the next attempt: waiting for one would keep others waiting for the rest.
with doomed as materialized (
    select l.id
    from unnest(%(ids)s::bigint[]) as wanted (id)
    join flush_binding f on f.id = wanted.id
    join location l on l.ruid = f.ruid
    where registration_is(
        registration_epoch(l.last_modified), l.cseq, l.callid, f.modified_epoch, f.cseq, f.seen_callid
    )
    order by l.id
    for update of l skip locked
)
delete from location l using doomed where l.id = doomed.id
