-- What import_account_rights sets is no part of it.
insert into account (id, parent_id, name, realm, enabled)
select id, parent_id, name, realm, enabled
from account_after
where state = 'created'
order by id_at
