-- Those of these indexes that are not there, or that a build left behind when it was interrupted.
select n.name
from unnest(%(indexes)s::text[]) n (name)
left join pg_index i on i.indexrelid = to_regclass(n.name)
where not coalesce(i.indisvalid, false)
order by n.name
