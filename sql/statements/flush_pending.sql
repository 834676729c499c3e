-- Bindings whose own node, or any where that is not known, has not confirmed yet.
select count(*)
from flush_binding f
where f.flush_id = %(flush_id)s
    and f.shown
    and f.settled_at is null
    and (f.server_id is null or not f.server_id = any (f.confirmed))
