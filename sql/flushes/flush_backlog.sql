-- The number of bindings that flushes of an account still have to remove, up to a limit.
select count(*)
from (
    select from flush q
    join flush_binding f on f.flush_id = q.id
    where q.account_id = %(account_id)s and q.finished_at is null and f.settled_at is null
    limit %(limit)s
) unsettled
