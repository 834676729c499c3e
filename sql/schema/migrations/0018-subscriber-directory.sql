-- The directory of a proxy that has none yet: on a database of kamdbctl Kamailio's own table `subscriber` is read, with an
-- account for each domain, until somebody imports a directory or replaces the view `directory`.

do $$
begin
    -- Only beside a table of kamdbctl's ours is called directory_subscriber (0003); and who has accounts has a directory.
    if to_regclass('directory_subscriber') is null or exists (select from account) then
        return;
    end if;
    -- First, since it takes the longest. Kamailio only reads the table, and no reader waits for the making of an index. Not
    -- unique: subscribers may differ in case alone.
    create index subscriber_aor_idx on subscriber (lower(username), lower(domain));
    create index subscriber_realm_idx on subscriber (lower(domain));
    analyze subscriber;
    execute 'create view directory_of_devices as ' || pg_get_viewdef('directory'::regclass);
    create view directory_of_subscriber as
    select
        lower(s.username) as username,
        lower(s.domain) as realm,
        lower(s.username) as device_id,
        s.username::text as device_name,
        a.id::text as account_id,
        a.name as account_name,
        a.realm::text as account_realm,
        null::text as owner_id,
        null::text as owner_name,
        a.enabled,
        null::text as presence_id,
        true as suppress_unregister_notify,
        false as register_overwrite_notify
    from subscriber s
    join account a on a.realm = lower(s.domain)
    where not exists (
        select from subscriber same
        where lower(same.username) = lower(s.username) and lower(same.domain) = lower(s.domain) and same.id < s.id
    );
    comment on view directory_of_devices is 'the directory of the tables account, owner and device, which an import fills';
    comment on view directory_of_subscriber is 'the directory of Kamailio''s own table: each subscriber is a device, each domain an account';
    create or replace view directory as select * from directory_of_subscriber;
end $$;

alter table account add column automatic boolean not null default false;

comment on column account.automatic is 'made of a domain by account_follow_domains; an import makes it an account like any other, or replaces it';

-- to_regclass looks names up when it is called, so here a body that is bound to its tables is not enough.
create function directory_is_of_subscriber() returns boolean language sql stable set search_path from current
    return exists (
        select from pg_depend d
        join pg_rewrite r on r.oid = d.objid
        where d.classid = 'pg_rewrite'::regclass
            and d.refclassid = 'pg_class'::regclass
            and d.refobjid = to_regclass('directory_of_subscriber')
            and r.ev_class = to_regclass('directory')
    );

comment on function directory_is_of_subscriber() is 'whether the view directory reads directory_of_subscriber';

-- Makes an account for each domain that has a subscriber or a phone, and for the realm of AoRs without a domain; says how
-- many were new. It runs with its owner's rights: the worker may write no account but these.
-- Who registers without authentication names the domain himself, so phones alone make 10,000 accounts at the most.
create function account_follow_domains() returns integer
    language plpgsql volatile security definer set search_path from current
as $$
declare
    realms text[];
    made integer;
begin
    if not directory_is_of_subscriber() then
        return 0;
    end if;
    -- From one domain to the next in the index: there may be a million subscribers of few domains.
    with recursive subscribed (realm) as (
        select min(lower(s.domain)) from subscriber s
        union all
        select (select min(lower(s.domain)) from subscriber s where lower(s.domain) > p.realm)
        from subscribed p
        where p.realm is not null
    ),
    registered (realm) as (
        select distinct lower(l.domain)
        from location l
        where l.account_id is null and l.domain <> ''
        limit greatest(0, 10000 - (select count(*) from account a where a.automatic))
    )
    select array_agg(found.realm) into realms
    from (
        select s.realm from subscribed s
        union
        select r.realm from registered r
        union
        select kamailio_default_realm()
    ) found
    -- What can be an ID of an account and a realm.
    where found.realm ~ '^[\u0021-\u002e\u0030-\u003f\u0041-\u007e]{1,64}$'
        and found.realm = lower(found.realm)
        and not exists (select from account a where a.realm = found.realm or a.id = found.realm);
    if realms is null then
        return 0;
    end if;
    -- An import may have begun meanwhile.
    lock table account in row exclusive mode;
    if not directory_is_of_subscriber() then
        return 0;
    end if;
    -- While it has its owner's rights, which the checks need; deferred they would come too late.
    set constraints account_refuse_nonsense immediate;
    insert into account (id, name, realm, automatic)
    select realm, realm, realm, true from unnest(realms) realm
    on conflict do nothing;
    get diagnostics made = row_count;
    return made;
end $$;

revoke execute on function account_follow_domains() from public;

grant execute on function account_follow_domains() to registrations_sync;

-- As in 0010, but for the state of what belongs to an automatic account: it says so instead of a fingerprint.
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
left join account a on a.realm = lower(coalesce(nullif(l.domain, ''), fallback.realm));
