-- An account that gives up its realm loses it first, so that another account can take it. It loses its parent as well, since a
-- constraint trigger looks at this version of the row at the end of the transaction, when the old parent may be below it.
update account a set
    parent_id = null,
    realm = case when t.realm = a.realm::text then a.realm else gen_random_uuid()::text end
from account b
left join account_after t on t.id = b.id::text
where b.id = a.id and (t.id is null or t.realm <> a.realm::text)
