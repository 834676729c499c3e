-- The devices of the files as they will be after the import, and other devices whose realm changes with their account's; of
-- these `at` is the row of the account.
create temporary table device_after on commit drop as
select
    next.*,
    'device' as file_kind,
    i.at,
    d.sip_username as sip_username_before,
    d.realm as realm_before,
    (i.ha1 is null and d.ha1 is not null) as ha1_kept,
    case
        when d.id is null then 'created'
        when (
            next.account_id, next.owner_id, next.name, next.sip_username, next.sip_realm, next.account_realm,
            next.ha1, next.enabled, next.presence_id, next.suppress_unregister_notify, next.register_overwrite_notify
        ) is distinct from (
            d.account_id::text, d.owner_id::text, d.name, d.sip_username, d.sip_realm::text, d.account_realm::text,
            d.ha1, d.enabled, d.presence_id, d.suppress_unregister_notify, d.register_overwrite_notify
        ) then 'updated'
        else 'unchanged'
    end as state
from import_device i
left join device d on d.id::text = i.id
left join account_after a on a.id = i.account_id
cross join lateral (
    select
        i.id,
        i.account_id,
        nullif(coalesce(i.owner_id, d.owner_id::text), '') as owner_id,
        coalesce(i.name, d.name, '') as name,
        i.sip_username,
        nullif(coalesce(i.sip_realm, d.sip_realm::text), '') as sip_realm,
        a.realm as account_realm,
        coalesce(nullif(coalesce(i.sip_realm, d.sip_realm::text), ''), a.realm) as realm,
        coalesce(i.ha1, d.ha1) as ha1,
        coalesce(i.enabled, d.enabled, true) as enabled,
        nullif(coalesce(i.presence_id, d.presence_id), '') as presence_id,
        coalesce(i.suppress_unregister_notify, d.suppress_unregister_notify, true) as suppress_unregister_notify,
        coalesce(i.register_overwrite_notify, d.register_overwrite_notify, false) as register_overwrite_notify
) next
union all
select
    d.id::text, d.account_id::text, d.owner_id::text, d.name, d.sip_username, null, a.realm, a.realm, d.ha1, d.enabled,
    d.presence_id, d.suppress_unregister_notify, d.register_overwrite_notify,
    'account', a.at,
    d.sip_username, d.realm, d.ha1 is not null, 'cascaded'
from account_after a
join device d on d.account_id::text = a.id
where a.realm <> a.realm_before
    and d.sip_realm is null
    and not %(replace)s
    and not exists (select from import_device i where i.id = d.id::text)
