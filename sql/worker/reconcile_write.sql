-- Sets rows to what the directory says, and requests the flush of those whose device may no longer be registered, in one
-- statement: either both happen or neither. The commit does not wait for the disk: the next comparison finds what a crash
-- loses. enriched_at does not change: it is in the condition of an index, so each update would write all indexes.
--
-- No reasons for a flush: a new owner or device ID; a device that is enabled again; a first password; a first import (rows
-- that had no device, were enriched before devices had a state, or while Kamailio's own subscribers were the directory).
-- Rows without a domain (use_domain=0) get their realm from the site's settings, whose change is no change of a device. A
-- phone that registered after the password changed has the new one.
with stale as materialized (
    select
        l.id, l.ruid, aor_username(l.username, l.domain) as username, aor_realm(l.domain) as domain, l.server_id, l.cseq,
        l.callid, l.account_id, l.device_id,
        registration_epoch(l.last_modified) as modified_epoch,
        registration_epoch(l.expires) as expires_epoch,
        l.device_state
    from location l
    where l.id = any (%(ids)s)
    order by l.id
    for update skip locked
),
judged as materialized (
    select
        s.id, s.ruid, s.server_id, s.username, s.domain, s.modified_epoch, s.cseq, s.callid,
        s.expires_epoch,
        s.account_id as old_account_id,
        sip_lower(s.username) as name,
        e.account_id, e.device_id, e.owner_id, e.device_state, e.credentials_changed_at,
        case
            when s.account_id is null then null
            when split_part(s.device_state, ' ', 2) = 'automatic'
                and split_part(e.device_state, ' ', 2) is distinct from 'automatic'
                then null
            when s.device_state is null
                and not registered_before(s.modified_epoch, greatest(e.credentials_changed_at, e.disabled_at))
                then null
            when s.device_state is null and e.credentials_changed_at is null and e.disabled_at is null then null
            when s.device_id is not null and e.device_id is null
                and (s.domain is not null or not o.is_there)
                then 'deleted'
            when s.device_id <> e.device_id and o.is_there then 'moved'
            when s.domain is not null and e.account_id is null then 'deleted'
            when s.domain is not null and s.account_id <> e.account_id then 'moved'
            when coalesce(s.device_state, 'enabled') like 'enabled%%' and e.device_state like 'disabled%%' then 'disabled'
            when e.device_id is not null
                and split_part(coalesce(s.device_state, 'enabled before'), ' ', 2)
                    not in ('', split_part(e.device_state, ' ', 2))
                and (
                    e.credentials_changed_at is null
                    or s.modified_epoch <= extract(epoch from e.credentials_changed_at)
                )
                then 'credentials'
        end as cause
    from stale s
    join location_enrichment e on e.id = s.id
    cross join lateral (
        select exists (select from directory d where d.device_id = s.device_id) as is_there
    ) o
    where e.id = any (%(ids)s)  -- repeated: the planner does not push it into the view
),
asked as (
    insert into flush (account_id, username, cause, requested_by, bindings)
    select j.old_account_id, j.name, j.cause, 'worker', count(*)
    from judged j
    where j.cause is not null
    group by j.old_account_id, j.name, j.cause
    returning id, account_id, username, cause
),
-- Memory may be ahead of the row (db_mode 2): every REGISTER before now is old, or before the password changed.
bindings as (
    insert into flush_binding
        (
            flush_id, ruid, username, domain, server_id, modified_epoch, cseq, seen_epoch, seen_cseq, seen_callid,
            expires_epoch, shown, due_at
        )
    select
        q.id, j.ruid, j.username, j.domain, j.server_id,
        greatest(j.modified_epoch, t.bound),
        case when t.bound > j.modified_epoch then -1 else j.cseq end,
        j.modified_epoch,
        j.cseq,
        j.callid,
        nullif(j.expires_epoch, 0),
        true,
        now()
    from judged j
    join asked q on q.account_id = j.old_account_id and q.username = j.name and q.cause = j.cause
    cross join lateral (
        select floor(extract(epoch from
            case
                when j.cause = 'credentials' and j.credentials_changed_at <= now()
                    then j.credentials_changed_at + interval '1 second'
                else now()
            end
        ))::bigint as bound
    ) t
    returning ruid, modified_epoch, cseq, seen_callid
),
written as (
    update location l set
        account_id = j.account_id,
        device_id = j.device_id,
        owner_id = j.owner_id,
        device_state = j.device_state,
        flushed_epoch = coalesce(b.modified_epoch, l.flushed_epoch),
        flushed_cseq = coalesce(b.cseq, l.flushed_cseq),
        flushed_callid = case when b.ruid is null then l.flushed_callid else b.seen_callid end
    from judged j
    left join bindings b on b.ruid = j.ruid
    where l.id = j.id
    returning l.id
)
select
    (select count(*) from written),
    (select count(*) from bindings),
    set_config('synchronous_commit', 'off', true)
