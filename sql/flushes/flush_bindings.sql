-- The bindings of an account, or of one username, for a flush. Includes those that are hidden already: a Kamailio that was
-- restarted has them in memory again. If usrloc writes late (db_mode 2), memory may be ahead of the row: then every binding
-- is old that registered before this second, and expires after the same time as the row.
insert into flush_binding
    (
        flush_id, ruid, username, domain, server_id, modified_epoch, cseq, seen_epoch, seen_cseq, seen_callid,
        expires_epoch, shown, due_at
    )
select
    %(flush_id)s,
    l.ruid,
    aor_username(l.username, l.domain),
    aor_realm(l.domain),
    l.server_id,
    case when %(late)s then greatest(t.modified_epoch, t.now_epoch) else t.modified_epoch end,
    case when %(late)s and t.now_epoch > t.modified_epoch then -1 else l.cseq end,
    t.modified_epoch,
    l.cseq,
    l.callid,
    nullif(t.expires_epoch, 0)
        + case t.modified_epoch when 0 then 0 else greatest(t.now_epoch - t.modified_epoch, 0) end,
    registration_shows(
        t.expires_epoch, t.modified_epoch, l.cseq, l.callid, l.flushed_epoch, l.flushed_cseq, l.flushed_callid
    ),
    now() + make_interval(secs => %(lease)s)
from (
    select id from location where account_id = %(account_id)s and enriched_at is not null
    union all
    select e.id
    from location_directory e
    join location n on n.id = e.id
    where n.enriched_at is null and e.account_id = %(account_id)s
) of_account
join location l on l.id = of_account.id
cross join lateral (
    select
        registration_epoch(l.last_modified) as modified_epoch,
        registration_epoch(l.expires) as expires_epoch,
        floor(extract(epoch from now()))::bigint as now_epoch
) t
where registration_lives(t.expires_epoch)
    and (%(username)s::text is null or sip_lower(aor_username(l.username, l.domain)) = sip_lower(%(username)s))
returning
    id, ruid, username, domain, server_id, modified_epoch, cseq, seen_callid as call_id, shown, confirmed
