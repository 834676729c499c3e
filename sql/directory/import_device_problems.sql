-- A place that the file does not have is that of account_id, and then that is the field that is named.
select 'device' as kind, 'id' as field, i.id_at as at, 'id_twice' as problem, i.id as value,
    null as other, 'device' as other_kind, first.at as other_at
from import_device i
join (select id, min(id_at) as at from import_device group by id having count(*) > 1) first on first.id = i.id
where i.id_at <> first.at
union all
select 'device', 'account_id', t.account_id_at, 'no_account', t.account_id, null, null, null
from device_after t
where t.account_realm is null
union all
select
    'device', case when t.owner_id_at = t.account_id_at then 'account_id' else 'owner_id' end, t.owner_id_at,
    case when o.id is null then 'no_owner' else 'owner_of_another' end, t.owner_id, o.account_id,
    case when o.id_at is not null then 'owner' end, o.id_at
from device_after t
left join owner_after o on o.id = t.owner_id
where t.file_kind = 'device'
    and t.owner_id is not null
    and t.account_realm is not null
    and o.account_id is distinct from t.account_id
union all
select
    'device', case when t.sip_realm_at = t.account_id_at then 'account_id' else 'sip_realm' end, t.sip_realm_at,
    'realm_of_account', t.sip_realm, a.id,
    case when a.realm_at is not null then 'account' end, a.realm_at
from device_after t
join account_after a on a.realm = t.sip_realm and a.id <> t.account_id
union all
select
    t.file_kind, case t.file_kind when 'device' then 'sip_username' else 'realm' end, t.sip_username_at, 'aor_twice',
    t.sip_username || '@' || t.realm, t.first_id, t.first_kind, t.first_at
from (
    select
        d.id, d.file_kind, d.sip_username_at, d.sip_username, d.realm,
        first_value(d.id) over the_aor as first_id,
        first_value(d.file_kind) over the_aor as first_kind,
        first_value(d.sip_username_at) over the_aor as first_at
    from device_after d
    join (
        select sip_lower(sip_username) as username, realm
        from device_after
        where sip_username <> ''
        group by sip_lower(sip_username), realm
        having count(*) > 1
    ) twice on twice.username = sip_lower(d.sip_username) and twice.realm = d.realm
    window the_aor as (partition by sip_lower(d.sip_username), d.realm order by d.file_kind, d.sip_username_at)
) t
where t.id <> t.first_id
union all
select
    t.file_kind, case t.file_kind when 'device' then 'sip_username' else 'realm' end, t.sip_username_at, 'aor_twice',
    t.sip_username || '@' || t.realm, d.id::text, null, null
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
        when t.sip_realm_at = t.account_id_at then 'account_id'
        else 'sip_realm'
    end,
    case when t.sip_username <> t.sip_username_before then t.sip_username_at else t.sip_realm_at end,
    case t.file_kind when 'account' then 'ha1_void_elsewhere' else 'ha1_void' end,
    t.sip_username_before || '@' || t.realm_before, t.id, null, null
from device_after t
where t.ha1_kept
    and t.realm is not null
    and t.sip_username <> ''
    and (t.sip_username, t.realm) <> (t.sip_username_before, t.realm_before)
