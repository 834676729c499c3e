copy import_account (
    id, parent_id, name, realm, enabled, superduper_admin, api_key_hash, id_at, parent_id_at, realm_at,
    superduper_admin_at, api_key_at
) from stdin
