insert into account (id, parent_id, name, realm, enabled, superduper_admin, api_key_hash)
select id, parent_id, name, realm, enabled, superduper_admin, api_key_hash
from account_after
where state = 'created'
order by id_at
