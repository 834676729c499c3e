-- Of a flush: bindings that showed and those that have a row at all, whose own node, or any where that is not known, has
-- not confirmed yet; and all that some node has still to be asked about.
select
    count(*) filter (where f.shown and not t.own_confirmed),
    count(*) filter (where f.ruid is not null and not t.own_confirmed),
    count(*)
from flush_binding f
cross join lateral (select coalesce(f.server_id = any (f.confirmed), false) as own_confirmed) t
where f.flush_id = %(flush_id)s and f.settled_at is null
