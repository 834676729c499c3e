-- Whoever gives up a realm lets go of it first, so that another can take it. The parent, too: a constraint trigger looks at
-- this version of the row when the transaction ends, when the old parent may lie below.
update account a set
    parent_id = null,
    realm = case when t.realm = a.realm::text then a.realm else gen_random_uuid()::text end
from account b
left join account_after t on t.id = b.id::text
where b.id = a.id and (t.id is null or t.realm <> a.realm::text)
