-- An account is looked up for each row, by its realm, which is unique. As a join the planner read all accounts for a
-- batch of new rows, wherever there are not many thousands: half of what enriching ten rows took.
create or replace view location_enrichment as
select
    l.id,
    coalesce(d.account_id, a.id) as account_id,
    d.device_id,
    d.owner_id,
    case
        when d.device_id is null and a.id is null then null
        when coalesce(d.enabled, a.enabled) then 'enabled'
        else 'disabled'
    end || coalesce(' ' || case when a.automatic then 'automatic' else c.fingerprint end, '') as device_state,
    c.changed_at as credentials_changed_at,
    coalesce(c.disabled_at, a.disabled_at) as disabled_at,
    l.account_id as row_account_id,
    l.device_id as row_device_id,
    l.owner_id as row_owner_id,
    l.device_state as row_device_state,
    l.enriched_at
from location l
cross join (
    select coalesce(
        kamailio_default_realm(),
        (select case when min(realm::text) = max(realm::text) then min(realm::text) end from account)
    ) as realm
) fallback
left join directory d on d.username = lower(registration_text(l.username))
    and d.realm = lower(coalesce(nullif(l.domain, ''), fallback.realm))
left join device_credentials c on c.username = d.username and c.realm = d.realm
left join lateral (
    select account.id::text as id, account.enabled, account.automatic, account.disabled_at
    from account
    where account.realm = lower(coalesce(nullif(l.domain, ''), fallback.realm))
    limit 1  -- which the planner takes for a look-up
) a on true;
