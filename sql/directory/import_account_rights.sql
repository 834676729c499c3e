-- Only roles with the privilege to write these columns can execute this.
update account a set superduper_admin = t.superduper_admin, api_key_hash = t.api_key_hash
from account_after t
where t.id = a.id::text and (t.gives_superduper_admin or t.gives_api_key)
