-- An account's place in the tree, in Kazoo's terms. In Kazoo an admin marks resellers. Here an account is a reseller if it
-- has accounts below it, so an account's reseller is its parent. At the top there is none: Kazoo then names its master
-- account, which is the account itself.
select
    a.id::text as account_id,
    a.name as account_name,
    exists (select from account c where c.parent_id = a.id) as is_reseller,
    coalesce(a.parent_id, a.id)::text as reseller_id
from account a
where a.id = %(account_id)s
