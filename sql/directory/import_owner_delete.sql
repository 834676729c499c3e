delete from owner o where not exists (select from owner_after t where t.id = o.id::text)
