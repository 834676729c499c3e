-- Devices may exchange AoRs, and the realm of an account changes before its devices are updated. So a device that gives up an
-- AoR gets a unique one until import_device_update.
update device d set sip_username = gen_random_uuid(), sip_realm = null
from device_after t
where t.id = d.id::text
    and t.state in ('updated', 'cascaded')
    and (sip_lower(t.sip_username), t.sip_realm, t.account_id, t.account_realm)
        is distinct from (sip_lower(d.sip_username), d.sip_realm::text, d.account_id::text, d.account_realm::text)
