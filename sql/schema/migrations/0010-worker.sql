-- What the worker needs: which worker leads, and what a change of the directory means for those who are registered.
-- Locks no table of Kamailio's.

-- An advisory lock would need no table, but any login may take one: whoever could read a report could stop the worker. Here
-- only the worker's role may write, or lock.
create table leader (
    only_one boolean primary key default true check (only_one),
    term bigint not null,
    pid integer not null,
    backend_start timestamptz not null
);

comment on table leader is 'the session of the worker that leads';
comment on column leader.only_one is 'always true: the table has one row at the most';
comment on column leader.term is 'goes up when the lead changes hands; who takes it says which term he saw';
comment on column leader.pid is 'process of its session on this server';
comment on column leader.backend_start is 'with pid, names a session of this server and no other, also after a failover';

-- PostgreSQL shows backend_start and state_change to the same login and to pg_read_all_stats. For anybody else the process,
-- the login's rights and the name decide. A pooler lends a session on to another client, under that client's name: the lead
-- ends with the one it was taken under.
create view leading_session as
select l.term, a.pid, a.state_change
from leader l
left join pg_stat_activity a
    on a.pid = l.pid
    and coalesce(a.backend_start, l.backend_start) = l.backend_start
    and a.application_name = 'registrations-sync leader'
    and has_table_privilege(a.usesysid, l.tableoid, 'update');

comment on view leading_session is 'the last term, and the session that leads: null when it has ended';
comment on column leading_session.term is 'as in leader';
comment on column leading_session.pid is 'its process; null: it has ended';
comment on column leading_session.state_change is 'when it last began or ended a statement; null: it has ended, or this login may not see it';

create table fingerprint_key (
    only_one boolean primary key default true check (only_one),
    key text not null
);

comment on table fingerprint_key is 'a secret that no role reads: without it a fingerprint tells nothing of the credentials';
comment on column fingerprint_key.only_one is 'always true: the table has one row';
comment on column fingerprint_key.key is 'random';

insert into fingerprint_key (key) values (gen_random_uuid()::text || gen_random_uuid()::text);

-- One row, which autovacuum never looks at: without statistics the planner expects a thousand.
analyze fingerprint_key;

create view device_credentials as
select
    sip_lower(d.sip_username) as username,
    d.realm,
    left(md5(k.key || d.ha1), 16) as fingerprint,
    d.credentials_changed_at as changed_at,
    greatest(d.disabled_at, a.disabled_at) as disabled_at
from device d
join account a on a.id = d.account_id
cross join fingerprint_key k;

comment on view device_credentials is 'a text of each device that changes with its password, and when it changed; whoever replaces directory may replace this, too';
comment on column device_credentials.username is 'user of the AoR, in lower case';
comment on column device_credentials.realm is 'domain of the AoR';
comment on column device_credentials.fingerprint is 'changes with the password; null: the device has none';
comment on column device_credentials.changed_at is 'when the password last changed; null: never since it was imported';
comment on column device_credentials.disabled_at is 'when device or account was last disabled; null: never since it was imported';

-- The worker compares what a row was enriched with to what the directory says now, whoever changed it and however.
create view location_enrichment as
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
left join directory d on d.username = sip_lower(aor_username(l.username, l.domain))
    and d.realm = sip_lower(coalesce(aor_realm(l.domain), fallback.realm))
left join device_credentials c on c.username = d.username and c.realm = d.realm
-- For each row, by its realm, which is unique. As a join the planner read all accounts for a batch of new rows.
left join lateral (
    select account.id::text as id, account.enabled, account.automatic, account.disabled_at
    from account
    where account.realm = sip_lower(coalesce(aor_realm(l.domain), fallback.realm))
    limit 1  -- which the planner takes for a look-up
) a on true;

comment on view location_enrichment is 'what the worker writes to each row of location, and what the row says now';
comment on column location_enrichment.id is 'as in location';
comment on column location_enrichment.account_id is 'account of the device, or else of the realm; null: none';
comment on column location_enrichment.device_id is 'device with this username and realm; null: none';
comment on column location_enrichment.owner_id is 'owner of that device; null: nobody';
comment on column location_enrichment.device_state is 'enabled or disabled, and a fingerprint of the credentials, or automatic for the account of a domain; null: no device and no account';
comment on column location_enrichment.credentials_changed_at is 'when the device''s password last changed; null: not known';
comment on column location_enrichment.disabled_at is 'when device or account was last disabled; null: not known';
comment on column location_enrichment.row_account_id is 'account_id of the row';
comment on column location_enrichment.row_device_id is 'device_id of the row';
comment on column location_enrichment.row_owner_id is 'owner_id of the row';
comment on column location_enrichment.row_device_state is 'device_state of the row';
comment on column location_enrichment.enriched_at is 'as in location';

-- A change that lies in the future was made before the clock was set back, and so was a REGISTER that does; a later one would
-- seem to come before the change, again and again.
create function registered_before(modified_epoch bigint, changed_at timestamptz)
    returns boolean language sql stable parallel safe
    return modified_epoch <= extract(epoch from changed_at)
        and (changed_at <= now() or modified_epoch > extract(epoch from now()));

comment on function registered_before(bigint, timestamptz) is 'whether a binding registered before a device was changed';
