-- Sets rows to what the directory says, and asks for the flush of those whose device may not be registered any more, in
-- one statement: either both happen or neither. Rows that were enriched without a device, or before devices had a
-- state, are no change of a device: a first import flushes nobody. A new owner, a new device ID, a device that is
-- enabled again, or a first password flush nobody either. Who registered after the password changed has the new one.
with stale as materialized (
    select
        l.id, l.ruid, l.username, l.domain, l.server_id, l.last_modified, l.expires, l.cseq, l.account_id, l.device_state,
        l.device_id
    from location l
    where l.id = any (%(ids)s)
    order by l.id
    for update skip locked
),
judged as materialized (
    select
        s.id, s.ruid, s.server_id, s.cseq,
        s.account_id as old_account_id,
        registration_text(s.username) as username,
        nullif(s.domain, '') as domain,
        registration_epoch(s.last_modified) as modified_epoch,
        registration_epoch(s.expires) as expires_epoch,
        e.account_id, e.device_id, e.owner_id, e.device_state,
        case
            when s.device_state is null then null
            when s.device_id is not null and e.device_id is null then 'deleted'
            when e.account_id is null then 'deleted'
            when s.account_id is distinct from e.account_id then 'moved'
            when s.device_state like 'enabled%%' and e.device_state like 'disabled%%' then 'disabled'
            when split_part(s.device_state, ' ', 2) not in ('', split_part(e.device_state, ' ', 2))
                and (
                    e.credentials_changed_at is null
                    or registration_epoch(s.last_modified) <= extract(epoch from e.credentials_changed_at)
                )
                then 'credentials'
        end as cause
    from stale s
    join location_enrichment e on e.id = s.id
    where e.id = any (%(ids)s)  -- said once more: the planner does not carry it over into the view
),
asked as (
    insert into flush (account_id, username, cause, requested_by, bindings)
    select j.old_account_id, lower(j.username), j.cause, 'worker', count(*)
    from judged j
    where j.cause is not null
    group by j.old_account_id, lower(j.username), j.cause
    returning id, account_id, username, cause
),
bindings as (
    insert into flush_binding
        (flush_id, ruid, username, domain, server_id, modified_epoch, cseq, expires_epoch, shown, due_at)
    select
        q.id, j.ruid, j.username, j.domain, j.server_id, j.modified_epoch, j.cseq, nullif(j.expires_epoch, 0), true, now()
    from judged j
    join asked q on q.account_id = j.old_account_id and q.username = lower(j.username) and q.cause = j.cause
    returning ruid
),
written as (
    update location l set
        account_id = j.account_id,
        device_id = j.device_id,
        owner_id = j.owner_id,
        device_state = j.device_state,
        flushed_epoch = case when j.cause is null then l.flushed_epoch else j.modified_epoch end,
        flushed_cseq = case when j.cause is null then l.flushed_cseq else j.cseq end,
        enriched_at = now()
    from judged j
    where l.id = j.id
    returning l.id
)
select (select count(*) from written), (select count(*) from bindings)
