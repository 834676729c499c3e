copy import_owner (id, account_id, name, id_at, account_id_at) from stdin
