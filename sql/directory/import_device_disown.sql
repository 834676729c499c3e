-- An owner cannot go, or move to another account, while devices point at it; they get theirs in import_device_update.
update device d set owner_id = null
from owner o
left join owner_after t on t.id = o.id::text
where o.id = d.owner_id and (t.id is null or t.account_id <> o.account_id::text)
