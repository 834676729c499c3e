with stale as materialized (
    select id from location where id = any(%(ids)s) order by id for update skip locked
)
update location l set
    account_id = e.account_id,
    device_id = e.device_id,
    owner_id = e.owner_id,
    enriched_at = now()
from stale
join location_directory e on e.id = stale.id
where l.id = stale.id
