update account a set
    parent_id = t.parent_id,
    name = t.name,
    realm = t.realm,
    enabled = t.enabled,
    superduper_admin = t.superduper_admin,
    api_key_hash = t.api_key_hash
from account_after t
where t.id = a.id::text and t.state = 'updated'
