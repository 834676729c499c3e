-- The count with it, where it is asked for: its answer costs a client less than a second round trip.
select
    token_hash, account_id, superduper_admin, wanted_exists, wanted_in_tree, restrictions,
    case
        when %(and_count)s and (%(wanted_account)s = '' or superduper_admin or wanted_in_tree)
            then registrations_count(coalesce(nullif(%(wanted_account)s, ''), account_id))
    end as count
from token_access(%(token_hash)s, %(wanted_account)s)
