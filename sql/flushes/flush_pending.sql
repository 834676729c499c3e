-- Of a flush, the bindings that lists showed, and those that have a row, that their own node has not confirmed (any node if
-- that is unknown); and everything that some node has not confirmed.
select
    count(*) filter (where f.shown and not t.own_confirmed),
    count(*) filter (where f.ruid is not null and not t.own_confirmed),
    count(*)
from flush_binding f
cross join lateral (select coalesce(f.server_id = any (f.confirmed), false) as own_confirmed) t
where f.flush_id = %(flush_id)s and f.settled_at is null
