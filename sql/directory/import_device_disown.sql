-- An owner with devices cannot be deleted or moved to another account. import_device_update sets the new owners.
update device d set owner_id = null
from owner o
left join owner_after t on t.id = o.id::text
where o.id = d.owner_id and (t.id is null or t.account_id <> o.account_id::text)
