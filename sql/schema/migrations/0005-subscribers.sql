-- The view `directory`: who may register, and to whom a registration belongs. Everything but the import reads it.
-- On a database of kamdbctl it begins with Kamailio's own table `subscriber`, with an account for each domain, until somebody
-- imports a directory. An operator with tables of his own replaces the view.
-- Locks subscriber against writers (kamctl) while its indexes are built, seconds for a million rows. Kamailio only reads it.

do $$
declare
    of_devices constant text := $view$
        select
            sip_lower(d.sip_username) as username,
            d.realm,
            d.id::text as device_id,
            d.name as device_name,
            d.account_id::text as account_id,
            a.name as account_name,
            a.realm::text as account_realm,
            d.owner_id::text as owner_id,
            o.name as owner_name,
            (d.enabled and a.enabled) as enabled,
            d.presence_id,
            d.suppress_unregister_notify,
            d.register_overwrite_notify
        from device d
        join account a on a.id = d.account_id
        left join owner o on o.id = d.owner_id
    $view$;
begin
    -- Ours has this name only beside a table of Kamailio's (0004).
    if to_regclass('directory_subscriber') is null then
        execute 'create view directory as ' || of_devices;
        return;
    end if;
    -- First, since it takes the longest. Not unique: subscribers may differ in case alone. With what sip_lower stands for, so
    -- that the indexes do not depend on the function.
    create index subscriber_sip_aor_idx on subscriber
        (lower(username collate "C") collate "default", lower(domain collate "C") collate "default");
    create index subscriber_sip_realm_idx on subscriber (lower(domain collate "C") collate "default");
    analyze subscriber;
    execute 'create view directory_of_devices as ' || of_devices;
    create view directory_of_subscriber as
    select
        sip_lower(s.username) as username,
        sip_lower(s.domain) as realm,
        sip_lower(s.username) as device_id,
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
    join account a on a.realm = sip_lower(s.domain)
    where not exists (
        select from subscriber same
        where sip_lower(same.username) = sip_lower(s.username) and sip_lower(same.domain) = sip_lower(s.domain) and same.id < s.id
    );
    create view directory as select * from directory_of_subscriber;
    -- Of 0004. It is called for a replica's writes, too.
    create trigger directory_note_change after insert or update or delete or truncate on subscriber
        for each statement execute function directory_note_change();
    alter table subscriber enable always trigger directory_note_change;
    comment on view directory_of_devices is 'the directory of the tables account, owner and device, which an import fills';
    comment on view directory_of_subscriber is 'the directory of Kamailio''s own table: each subscriber is a device, each domain an account';
end $$;

comment on view directory is 'who may register: one row for each username and realm. The operator may replace it';
comment on column directory.username is 'what the device registers as, in lower case';
comment on column directory.realm is 'domain that it registers in, in lower case';
comment on column directory.device_id is 'device, unique within its account only: in a database of kamdbctl without an import it is the username';
comment on column directory.device_name is 'name of the device, or empty';
comment on column directory.account_id is 'account of the device';
comment on column directory.account_name is 'name of that account, or empty';
comment on column directory.account_realm is 'realm of that account';
comment on column directory.owner_id is 'owner of the device; null: nobody';
comment on column directory.owner_name is 'name of the owner; null: nobody owns the device';
comment on column directory.enabled is 'whether it may register: neither it nor its account is disabled';
comment on column directory.presence_id is 'Kazoo''s presence_id; null: none';
comment on column directory.suppress_unregister_notify is 'Kazoo''s setting of that name';
comment on column directory.register_overwrite_notify is 'Kazoo''s setting of that name';

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

-- It runs with its owner's rights: the worker may write no account but these. Who registers without authentication names the
-- domain himself, so phones alone make 10,000 accounts at the most.
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
        select min(sip_lower(s.domain)) from subscriber s
        union all
        select (select min(sip_lower(s.domain)) from subscriber s where sip_lower(s.domain) > p.realm)
        from subscribed p
        where p.realm is not null
    ),
    registered (realm) as (
        -- In two halves, each of which an index finds: rows that the worker has seen, and rows that it has not.
        select distinct sip_lower(aor_realm(without.domain))
        from (
            select l.domain from location l where l.enriched_at is null and l.account_id is null and l.domain <> ''
            union all
            select l.domain from location l where l.enriched_at is not null and l.account_id is null and l.domain <> ''
        ) without
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
        and found.realm = sip_lower(found.realm)
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

comment on function account_follow_domains() is 'makes an account for each domain that has a subscriber or a phone, and for the realm of AoRs without a domain; returns how many were new';
