-- The contacts of a device's phones. No row: the account has no such device. One row without a contact: it is not
-- registered, or no registration fulfils the conditions. An AoR without a domain (use_domain=0) has the device's realm.
select
    l.username, coalesce(l.realm, d.realm) as domain, l.contact::text, nullif(l.received, '') as received,
    nullif(l.path, '') as path, nullif(l.socket, '') as socket, l.server_id,
    f.received as source
from directory d
left join live_location l on l.account_id = %(account_id)s
    and l.device_id = %(device_id)s
    and sip_lower(l.username) = d.username
    and sip_lower(coalesce(l.realm, d.realm)) = d.realm
    and (
        %(all)s
        or l.id in (
            select id
            from registrations
            where account_id = %(account_id)s and authorizing_id = %(device_id)s{conditions}
        )
    )
left join registration_source f on f.ruid = l.ruid
where d.account_id = %(account_id)s and d.device_id = %(device_id)s
order by l.id
