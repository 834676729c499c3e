-- What one node is to be asked about now: bindings that it has not confirmed, and confirmed ones whose row is still
-- there, which a Kamailio that restarts would take up again. Also those whose last unconfirmed node is no node any more.
-- Or what is left of one flush, due or not.
select
    f.id, f.flush_id, f.ruid, f.username, f.domain, f.server_id, f.modified_epoch, f.cseq, f.shown, f.confirmed, f.attempts,
    extract(epoch from now() - f.settled_at)::float8 as settled_for
from flush_binding f
cross join lateral (select flush_holders(f.server_id, %(nodes)s, %(replicated)s) as ids) holders
where (
        (%(flush_id)s::text is null and f.due_at <= now())
        or (f.flush_id = %(flush_id)s and f.settled_at is null)
    )
    and %(node)s = any (holders.ids)
    and (f.settled_at is not null or not %(node)s = any (f.confirmed) or holders.ids <@ f.confirmed)
order by f.due_at
limit %(limit)s
