-- The bindings that are due at one node: those that it has not confirmed, and confirmed ones whose row still exists, which
-- a Kamailio that restarts would load again. Also those whose last unconfirmed node was removed from the settings. Or what
-- is left of one flush, due or not.
--
-- If usrloc writes at once, rows tell what registered since, whatever the clock says. That matters after the clock was set
-- back, when a new REGISTER seems older than the flush: registered_again is about the binding itself, newcomers are bindings
-- of an AoR that differ from what the flush saw. A bound that is not a row's own time is compared with the clock.
select
    f.id, f.flush_id, f.ruid, f.username, f.domain, f.server_id, f.modified_epoch, f.cseq,
    f.seen_callid as call_id, f.shown, f.confirmed, f.attempts,
    extract(epoch from now() - f.settled_at)::float8 as settled_for,
    exists (
        select from location l
        where l.ruid = f.ruid
            and (registration_epoch(l.last_modified), l.cseq, l.callid)
                is distinct from (f.seen_epoch, f.seen_cseq, coalesce(f.seen_callid, l.callid))
            and (f.cseq <> -1 or clock.set_back)
    ) as registered_again,
    case
        when f.ruid is null and clock.set_back then array(
            select l.ruid::text from location l
            where l.username in (f.username, split_part(f.username, '@', 1))  -- as usrloc splits it, for its index
                and aor_username(l.username, l.domain) = f.username
                and coalesce(aor_realm(l.domain), f.domain) is not distinct from f.domain
                and registration_epoch(l.last_modified) <= clock.epoch
                and not exists (
                    select from flush_binding o
                    where o.flush_id = f.flush_id
                        and (o.ruid, o.seen_epoch, o.seen_cseq, coalesce(o.seen_callid, l.callid))
                            = (l.ruid, registration_epoch(l.last_modified), l.cseq, l.callid)
                )
        )
        else '{}'
    end as newcomers
from flush_binding f
cross join lateral (select flush_holders(f.server_id, %(nodes)s, %(replicated)s) as ids) holders
cross join lateral (
    select extract(epoch from now()) as epoch, f.modified_epoch - 1 > extract(epoch from now()) as set_back
) clock
where (
        (%(flush_id)s::text is null and (f.due_at <= now() or f.asked_at > now()))
        or (f.flush_id = %(flush_id)s and f.settled_at is null)
    )
    and %(node)s = any (holders.ids)
    and (f.settled_at is not null or not %(node)s = any (f.confirmed) or holders.ids <@ f.confirmed)
order by f.due_at
limit %(limit)s
