delete from device d where not exists (select from device_after t where t.id = d.id::text)
