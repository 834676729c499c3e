-- What one node is to be asked about now: bindings that it has not confirmed, and confirmed ones whose row is still
-- there, which a Kamailio that restarts would take up again. Or what is left of one flush, due or not.
select
    f.id, f.flush_id, f.ruid, f.username, f.domain, f.server_id, f.modified_epoch, f.cseq, f.shown, f.confirmed, f.attempts,
    floor(extract(epoch from q.requested_at))::bigint as requested_epoch,
    extract(epoch from now() - f.settled_at)::float8 as settled_for
from flush_binding f
join flush q on q.id = f.flush_id
where (
        (%(flush_id)s::text is null and f.due_at <= now())
        or (f.flush_id = %(flush_id)s and f.settled_at is null)
    )
    and %(node)s = any (flush_holders(f.server_id, %(nodes)s, %(replicated)s))
    and (f.settled_at is not null or not %(node)s = any (f.confirmed))
order by f.due_at
limit %(limit)s
