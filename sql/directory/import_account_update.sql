update account a set
    parent_id = t.parent_id,
    name = t.name,
    realm = t.realm,
    enabled = t.enabled
from account_after t
where t.id = a.id::text and t.state = 'updated'
