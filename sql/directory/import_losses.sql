-- Of each kind: how many there are, how many go, and whether any will be there. An account that was made of a domain was
-- never imported, so no import loses it.
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
