insert into owner (id, account_id, name)
select id, account_id, name
from owner_after
where state = 'created'
order by at
