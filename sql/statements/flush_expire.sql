-- Bindings that would have expired by themselves, and flushes that were finished long ago.
with over as (
    delete from flush_binding f
    where f.id in (
        select o.id from flush_binding o
        where o.expires_epoch < extract(epoch from now()) - 60
            and not exists (
                select from location l
                where l.ruid = o.ruid
                    and registration_lives(registration_epoch(l.expires))
                    and registration_is(registration_epoch(l.last_modified), l.cseq, o.modified_epoch, o.cseq)
            )
        limit %(limit)s
    )
    returning f.flush_id
),
finished as (
    update flush q set finished_at = now()
    where q.finished_at is null
        and not exists (
            select from flush_binding f
            where f.flush_id = q.id and f.settled_at is null
                and (f.expires_epoch is null or f.expires_epoch >= extract(epoch from now()) - 60)
        )
        and q.requested_at < now() - interval '1 minute'
)
delete from flush q
where q.id in (
    select o.id from flush o
    where o.finished_at < now() - make_interval(secs => %(keep)s)
        and not exists (select from flush_binding f where f.flush_id = o.id)
    limit %(limit)s
)
