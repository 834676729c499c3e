select token_hash, account_id, superduper_admin, wanted_exists, wanted_in_tree, restrictions
from token_access(%(token_hash)s, %(wanted_account)s)
