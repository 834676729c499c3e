-- What a change of the directory means for those who are registered: the worker compares what a row was enriched with
-- to what the directory says now, whoever changed it and however.

-- When what a phone may do last ended, where the tables can tell: who registered before that, and was not enriched by then,
-- is caught by it.
alter table device add column credentials_changed_at timestamptz, add column disabled_at timestamptz;

alter table account add column disabled_at timestamptz;

comment on column device.credentials_changed_at is 'when ha1 last changed from one to another; null: never since it was imported';
comment on column device.disabled_at is 'when it was last disabled; null: never since it was imported';
comment on column account.disabled_at is 'when it was last disabled; null: never since it was imported';

create function device_note_credentials() returns trigger language plpgsql
    set search_path from current
as $$
begin
    new.credentials_changed_at = now();
    return new;
end $$;

create trigger device_note_credentials before update of ha1 on device
    for each row when (old.ha1 <> new.ha1 or (old.ha1 is not null and new.ha1 is null))
    execute function device_note_credentials();

create function note_disabled() returns trigger language plpgsql
    set search_path from current
as $$
begin
    new.disabled_at = now();
    return new;
end $$;

create trigger device_note_disabled before update of enabled on device
    for each row when (old.enabled and not new.enabled) execute function note_disabled();

create trigger account_note_disabled before update of enabled on account
    for each row when (old.enabled and not new.enabled) execute function note_disabled();

-- A fingerprint that tells nothing of the credentials without this key, which no role reads.
create table fingerprint_key (
    only_one boolean primary key default true check (only_one),
    key text not null
);

insert into fingerprint_key (key) values (gen_random_uuid()::text || gen_random_uuid()::text);

create view device_credentials as
select
    lower(d.sip_username) as username,
    d.realm,
    left(md5(k.key || d.ha1), 16) as fingerprint,
    d.credentials_changed_at as changed_at,
    greatest(d.disabled_at, a.disabled_at) as disabled_at
from device d
join account a on a.id = d.account_id
cross join fingerprint_key k;

comment on view device_credentials is 'a text of each device that changes with its password, and when it changed; whoever replaces directory may replace this, too';

alter table location add column device_state text;

comment on column location.device_state is 'set by the sync worker: whether the device was enabled, and a fingerprint of its credentials';

-- What enrichment writes to each row: as location_directory, and the state.
create view location_enrichment as
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
    coalesce(c.disabled_at, a.disabled_at) as disabled_at
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

grant select (realm) on account to registrations_api;
grant select on device_credentials, location_enrichment to registrations_sync;
grant update (device_state) on location to registrations_sync;
