-- import_account_rights sets the other columns.
insert into account (id, parent_id, name, realm, enabled)
select id, parent_id, name, realm, enabled
from account_after
where state = 'created'
order by at
