copy import_device (
    id, account_id, owner_id, name, sip_username, sip_realm, ha1, enabled, presence_id, suppress_unregister_notify,
    register_overwrite_notify, id_at, account_id_at, owner_id_at, sip_username_at, sip_realm_at
) from stdin
