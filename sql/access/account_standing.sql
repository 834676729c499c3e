-- An account's place in the tree, in Kazoo's words. Kazoo marks resellers by hand; here an account is one when it has
-- accounts below it, so the nearest one above is the parent. At the top there is none above: Kazoo names its
-- master account then, which is the account itself.
select
    a.id::text as account_id,
    a.name as account_name,
    exists (select from account c where c.parent_id = a.id) as is_reseller,
    coalesce(a.parent_id, a.id)::text as reseller_id
from account a
where a.id = %(account_id)s
