select count(*), count(*) filter (where not exists (select from device_after t where t.id = d.id::text)) from device d
