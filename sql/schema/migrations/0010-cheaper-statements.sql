-- Statements that cost more the larger the tables are: the comparison of all rows with the directory took 54 seconds with
-- a million rows, on all cores.

-- PostgreSQL calls convert_from stable, and so did not write this function's body into the statements that use it (an
-- immutable function with a stable body is not inlined). Inlined it costs a sixth.
alter function registration_text(text) stable;

-- One row, which autovacuum never looks at: without its statistics the planner takes it for a thousand.
analyze fingerprint_key;

-- With what the row says now, so that the comparison needs no second look at it.
create or replace view location_enrichment as
select
    l.id,
    coalesce(d.account_id, a.id::text) as account_id,
    d.device_id,
    d.owner_id,
    case
        when d.device_id is null and a.id is null then null
        when coalesce(d.enabled, a.enabled) then 'enabled'
        else 'disabled'
    end || coalesce(' ' || c.fingerprint, '') as device_state,
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
left join account a on a.realm = lower(coalesce(nullif(l.domain, ''), fallback.realm));

-- Kamailio asks this at each REGISTER. As a join PostgreSQL read all accounts for it: it cannot know that a username and a
-- realm are one device. A subquery is only asked about the device that was found.
do $$
begin
    execute format($view$
        create or replace view %s as
        select d.sip_username as username, d.realm as domain, ''::text as password, d.ha1, ''::text as ha1b
        from device d
        where d.enabled and d.ha1 is not null and (select a.enabled from account a where a.id = d.account_id)
    $view$, coalesce(to_regclass('directory_subscriber'), to_regclass('subscriber')));
end $$;
