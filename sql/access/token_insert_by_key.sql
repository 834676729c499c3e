select account_id
from token_from_api_key(%(key_hash)s, %(token_hash)s, %(idle_lifetime)s, %(restrictions)s)
