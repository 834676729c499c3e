-- The devices of an account, one row each, in the order of their IDs. In a directory of the operator's own a device may
-- have several usernames; the first one is shown.
select
    id, name, device_type, enabled, owner_id, presence_id, username, realm, suppress_unregister_notify,
    register_overwrite_notify
from (
    select distinct on (d.device_id collate "C")
        d.device_id collate "C" as id,
        coalesce(d.device_name, '') as name,
        'sip_device' as device_type,
        d.enabled,
        nullif(d.owner_id, '') as owner_id,
        nullif(d.presence_id, '') as presence_id,
        d.username,
        d.realm,
        d.suppress_unregister_notify,
        d.register_overwrite_notify
    from directory d
    where d.account_id = %(account_id)s
        and (%(device_id)s::text is null or d.device_id = %(device_id)s)
        and (%(start)s::text is null or d.device_id collate "C" {bound} %(start)s)
    order by d.device_id collate "C" {direction}, d.realm, d.username
) device
where true{conditions}
limit %(limit)s::bigint
