-- Deletes bindings that have expired anyway, and flushes that were finished long ago; both after a grace time, since a clock
-- may be ahead and be corrected. Skips locked rows: a node's answers lock a flush before its bindings, in another order than
-- this. Empty flushes are kept for a short time, and an account keeps a limited number, so that no token can fill the disk.
with over as materialized (
    select o.id from flush_binding o
    where o.expires_epoch < extract(epoch from now()) - %(grace)s
        and not exists (
            select from location l
            where l.ruid = o.ruid
                and registration_lives(registration_epoch(l.expires))
                and registration_is(
                    registration_epoch(l.last_modified), l.cseq, l.callid, o.modified_epoch, o.cseq, o.seen_callid
                )
        )
    limit %(limit)s
    for update of o skip locked
),
finished as materialized (
    select o.id from flush o
    where o.finished_at is null
        and not exists (
            select from flush_binding f
            where f.flush_id = o.id and f.settled_at is null
                and (f.expires_epoch is null or f.expires_epoch >= extract(epoch from now()) - %(grace)s)
        )
        and o.requested_at < now() - interval '1 minute'
    for update of o skip locked
),
old as materialized (
    select o.id from flush o
    where (
            o.finished_at < now() - make_interval(secs => %(keep)s)
            or (o.bindings = 0 and o.finished_at < now() - make_interval(secs => %(keep_empty)s))
            or (
                o.finished_at is not null
                and o.id in (
                    select r.id
                    from (select id, row_number() over (partition by account_id order by position desc) from flush) r
                    where r.row_number > %(most)s
                )
            )
        )
        and not exists (select from flush_binding f where f.flush_id = o.id)
    limit %(limit)s
    for update of o skip locked
),
deleted as (delete from flush_binding f using over where f.id = over.id),
updated as (update flush q set finished_at = now() from finished where q.id = finished.id)
delete from flush q using old where q.id = old.id
