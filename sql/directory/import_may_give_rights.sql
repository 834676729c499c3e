select has_column_privilege('account', 'superduper_admin', 'update') and has_column_privilege('account', 'api_key_hash', 'update')
