select count(*)
from auth_token t
join account a on a.id = t.account_id
join import_account i on i.realm = a.realm::text and i.id <> a.id::text
where a.automatic
