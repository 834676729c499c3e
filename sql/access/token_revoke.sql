select token_revoke(%(token_hash)s)
