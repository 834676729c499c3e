-- Conflicts of devices, as in import_account_problems. A device that is in no file, and changes its realm with its account,
-- is reported at the row of the account.
select 'device' as kind, 'id' as field, i.at, '{value} is given twice{where}' as message, i.id as value,
    null as other, 'device' as other_kind, first.at as other_at
from import_device i
join (select id, min(at) as at from import_device group by id having count(*) > 1) first on first.id = i.id
where i.at <> first.at
union all
select 'device', 'account_id', t.at, 'there is no account {value}', t.account_id, null, null, null
from device_after t
where t.account_realm is null
union all
select
    'device', 'owner_id', t.at,
    case when o.id is null then 'there is no owner {value}' else 'owner {value} belongs to account {other}{where}' end,
    t.owner_id, o.account_id, case when o.at is not null then 'owner' end, o.at
from device_after t
left join owner_after o on o.id = t.owner_id
where t.file_kind = 'device'
    and t.owner_id is not null
    and t.account_realm is not null
    and o.account_id is distinct from t.account_id
union all
select 'device', 'sip_realm', t.at, '{value} is the realm of account {other}{where}', t.sip_realm, a.id,
    case when a.at is not null then 'account' end, a.at
from device_after t
join account_after a on a.realm = t.sip_realm and a.id <> t.account_id
union all
select
    t.file_kind, case t.file_kind when 'device' then 'sip_username' else 'realm' end, t.at,
    'device {other} has {value}, too{where}', t.sip_username || '@' || t.realm, t.first_id, t.first_kind, t.first_at
from (
    select
        d.id, d.file_kind, d.at, d.sip_username, d.realm,
        first_value(d.id) over the_aor as first_id,
        first_value(d.file_kind) over the_aor as first_kind,
        first_value(d.at) over the_aor as first_at
    from device_after d
    join (
        select sip_lower(sip_username) as username, realm
        from device_after
        where sip_username <> ''
        group by sip_lower(sip_username), realm
        having count(*) > 1
    ) twice on twice.username = sip_lower(d.sip_username) and twice.realm = d.realm
    window the_aor as (partition by sip_lower(d.sip_username), d.realm order by d.file_kind, d.at)
) t
where t.id <> t.first_id
union all
select
    t.file_kind, case t.file_kind when 'device' then 'sip_username' else 'realm' end, t.at,
    'device {other} has {value}, too{where}', t.sip_username || '@' || t.realm, d.id::text, null, null
from device_after t
join device d on sip_lower(d.sip_username) = sip_lower(t.sip_username) and d.realm = t.realm
where t.state <> 'unchanged'
    and not %(replace)s
    and not exists (select from device_after x where x.id = d.id::text)
union all
select
    t.file_kind,
    case
        when t.file_kind = 'account' then 'realm'
        when t.sip_username <> t.sip_username_before then 'sip_username'
        when t.sip_realm is null then 'account_id'
        else 'sip_realm'
    end,
    t.at,
    case t.file_kind
        when 'device' then 'device {other} was {value}, so its stored ha1 is void: give a new password or ha1'
        else 'device {other} was {value}, so its stored ha1 is void: import it with a new password or ha1'
    end,
    t.sip_username_before || '@' || t.realm_before, t.id, null, null
from device_after t
where t.ha1_kept
    and t.realm is not null
    and t.sip_username <> ''
    and (t.sip_username, t.realm) <> (t.sip_username_before, t.realm_before)
