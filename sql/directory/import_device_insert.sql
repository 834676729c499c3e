insert into device (
    id, account_id, owner_id, name, sip_username, sip_realm, ha1, enabled, presence_id, suppress_unregister_notify,
    register_overwrite_notify
)
select
    id, account_id, owner_id, name, sip_username, sip_realm, ha1, enabled, presence_id, suppress_unregister_notify,
    register_overwrite_notify
from device_after
where state = 'created'
order by at
