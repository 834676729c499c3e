update owner o set account_id = t.account_id, name = t.name
from owner_after t
where t.id = o.id::text and t.state = 'updated'
