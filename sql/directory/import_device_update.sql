update device d set
    account_id = t.account_id,
    owner_id = t.owner_id,
    name = t.name,
    sip_username = t.sip_username,
    sip_realm = t.sip_realm,
    ha1 = t.ha1,
    enabled = t.enabled,
    presence_id = t.presence_id,
    suppress_unregister_notify = t.suppress_unregister_notify,
    register_overwrite_notify = t.register_overwrite_notify
from device_after t
where t.id = d.id::text and t.state in ('updated', 'cascaded')
