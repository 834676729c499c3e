-- How many accounts, owners and devices there are, how many the import would delete, and whether any would be left. An account
-- that was made of a domain does not count, since it was never imported.
select 'account', count(*), count(*) filter (where not exists (select from account_after t where t.id = a.id::text)),
    exists (select from account_after)
from account a
where not a.automatic
union all
select 'owner', count(*), count(*) filter (where not exists (select from owner_after t where t.id = o.id::text)),
    exists (select from owner_after)
from owner o
union all
select 'device', count(*), count(*) filter (where not exists (select from device_after t where t.id = d.id::text)),
    exists (select from device_after)
from device d
