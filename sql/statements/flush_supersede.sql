-- These registered again after their flush was asked for: it is over for them, and they show.
with newer as (
    delete from flush_binding where id = any (%(ids)s) returning flush_id, shown
)
update flush q set superseded = q.superseded + n.count
from (select flush_id, count(*) filter (where shown) as count from newer group by flush_id) n
where q.id = n.flush_id
