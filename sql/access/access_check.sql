-- Includes the count if it is requested, which saves a round trip. A token with restrictions may yet be refused, so nothing
-- is counted for it.
select
    account_id, superduper_admin, wanted_exists, wanted_in_tree, restrictions,
    case
        when %(and_count)s and restrictions is null and (%(wanted_account)s = '' or superduper_admin or wanted_in_tree)
            then registrations_count(coalesce(nullif(%(wanted_account)s, ''), account_id))
    end as count
from token_access(%(token_hash)s, %(wanted_account)s)
