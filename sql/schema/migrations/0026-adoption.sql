-- A proxy that is adopted goes on as before: no registrations.cfg changes where calls go or how other modules read the
-- database. So texts are shown as they are stored, the address that a phone registered from has a table beside usrloc's, an
-- AoR is read split at its last "@", and a flush tells two REGISTERs of one second apart by their Call-ID, too.

-- Where a phone registered from, and the From of a third party: what usrloc does not store. The worker fetches it from
-- Kamailio, for every binding.
create table registration_source (
    ruid text primary key,
    received text,
    from_user text,
    from_host text,
    updated_at timestamptz not null default now()
);

-- Whether there are any third parties.
create index registration_source_from_idx on registration_source (ruid) where from_user is not null or from_host is not null;

comment on table registration_source is 'what a REGISTER said that usrloc does not store; the worker fetches it from Kamailio';
comment on column registration_source.received is 'SIP URI of where it came from; null: not known';
comment on column registration_source.from_user is 'user of the From of a third party''s REGISTER';
comment on column registration_source.from_host is 'host of that From';
comment on column registration_source.updated_at is 'when Kamailio said so last';

grant select on registration_source to registrations_api;
grant select, insert, update, delete on registration_source to registrations_sync;

-- Not locked yet, so that no SIP worker waits for the copy of many rows.
insert into registration_source (ruid, from_user, from_host, updated_at)
select ruid, registration_text(from_user), registration_text(from_host), updated_at from registration_from;

-- A text from a header of a phone's. One that was folded (RFC 3261, 7.3.1) has a single blank instead of the line break.
create function unfolded(header text) returns text language sql immutable parallel safe
    return case
        when strpos(header, E'\n') > 0 or strpos(header, E'\r') > 0
            then regexp_replace(header, '[ \t]*[\r\n][ \t\r\n]*', ' ', 'g')
        else header
    end;

-- usrloc splits an AoR at its first "@". A user part may have one, escaped: sip:anna%40corp.example@example.com is stored as
-- anna and corp.example@example.com. These two split it at the last one, and leave alone what is stored without a domain.
create function aor_username(username text, domain text) returns text language sql immutable parallel safe
    return case
        when strpos(domain, '@') > 0 then username || '@' || left(domain, -1 - length(split_part(domain, '@', -1)))
        else username
    end;

create function aor_realm(domain text) returns text language sql immutable parallel safe
    return nullif(case when strpos(domain, '@') > 0 then split_part(domain, '@', -1) else domain end, '');

-- Is a REGISTER the one that a flush saw, or one before it? The Call-ID is null where a flush was asked for by the release
-- before, which did not compare it.
create function registration_is(
    modified_epoch bigint, cseq integer, callid text, flushed_epoch bigint, flushed_cseq integer, flushed_callid text
) returns boolean language sql immutable parallel safe
    return modified_epoch < flushed_epoch
        or (modified_epoch = flushed_epoch and cseq = flushed_cseq and callid = coalesce(flushed_callid, callid));

-- Does a binding show? usrloc: VALID_CONTACT in ul_mod, expires > now or 0. Not while a flush hides it.
create function registration_shows(
    expires bigint, modified_epoch bigint, cseq integer, callid text,
    flushed_epoch bigint, flushed_cseq integer, flushed_callid text
) returns boolean language sql stable parallel safe
    return (expires = 0 or expires > date_part('epoch', now()))
        and (
            flushed_epoch is null
            or modified_epoch > flushed_epoch
            or (
                modified_epoch = flushed_epoch
                and (cseq <> flushed_cseq or callid <> coalesce(flushed_callid, callid))
            )
        );

alter table flush_binding add column seen_callid text;

comment on column flush_binding.seen_callid is 'callid of its row at that time; null in those of the release before';

create or replace function account_follow_domains() returns integer
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
        select distinct lower(aor_realm(l.domain))
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

-- Kamailio with the registrations.cfg of the release before writes there meanwhile, and may until it is restarted.
lock table registration_from in access exclusive mode;

insert into registration_source (ruid, from_user, from_host, updated_at)
select ruid, registration_text(from_user), registration_text(from_host), updated_at
from registration_from
where updated_at > now() - interval '1 minute'
on conflict (ruid) do update set
    from_user = excluded.from_user, from_host = excluded.from_host, updated_at = excluded.updated_at;

-- Views of location, from here on at its end: what locks it may read no row.
alter table location add column flushed_callid text;

comment on column location.flushed_callid is 'tombstone: callid of that REGISTER; null in those of the release before';

grant update (flushed_callid) on location to registrations_api, registrations_sync;

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
left join directory d on d.username = lower(aor_username(l.username, l.domain))
    and d.realm = lower(coalesce(aor_realm(l.domain), fallback.realm))
left join device_credentials c on c.username = d.username and c.realm = d.realm
left join lateral (
    select account.id::text as id, account.enabled, account.automatic, account.disabled_at
    from account
    where account.realm = lower(coalesce(aor_realm(l.domain), fallback.realm))
    limit 1  -- which the planner takes for a look-up
) a on true;

create or replace view location_directory as
select
    l.id,
    coalesce(d.account_id, a.id::text) as account_id,
    d.device_id,
    d.owner_id,
    l.ruid, l.username, l.domain, l.contact, l.received, l.path, l.expires, l.callid, l.cseq, l.last_modified,
    l.user_agent, l.socket, l.instance, l.server_id, l.enriched_at, l.first_registered_at, l.flushed_epoch,
    l.flushed_cseq, l.flushed_callid
from location l
cross join (
    select coalesce(
        kamailio_default_realm(),
        (select case when min(realm::text) = max(realm::text) then min(realm::text) end from account)
    ) as realm
) fallback
left join directory d on d.username = lower(aor_username(l.username, l.domain))
    and d.realm = lower(coalesce(aor_realm(l.domain), fallback.realm))
left join account a on a.realm = lower(coalesce(aor_realm(l.domain), fallback.realm));

create or replace view live_location as
select
    l.id, l.account_id, l.device_id, l.owner_id, aor_realm(l.domain) as realm,
    registration_epoch(l.expires) as expires_epoch, registration_epoch(l.last_modified) as modified_epoch,
    l.first_registered_at, l.ruid, aor_username(l.username, l.domain) as username, l.contact, l.received, l.path,
    l.callid, l.user_agent, l.socket, l.instance, l.server_id
from location l
where l.enriched_at is not null
    and registration_shows(
        registration_epoch(l.expires), registration_epoch(l.last_modified), l.cseq, l.callid, l.flushed_epoch,
        l.flushed_cseq, l.flushed_callid
    )
union all
select
    e.id, e.account_id, e.device_id, e.owner_id, aor_realm(e.domain) as realm,
    registration_epoch(e.expires), registration_epoch(e.last_modified),
    e.first_registered_at, e.ruid, aor_username(e.username, e.domain) as username, e.contact, e.received, e.path,
    e.callid, e.user_agent, e.socket, e.instance, e.server_id
from location_directory e
where e.enriched_at is null
    and registration_shows(
        registration_epoch(e.expires), registration_epoch(e.last_modified), e.cseq, e.callid, e.flushed_epoch,
        e.flushed_cseq, e.flushed_callid
    );

create or replace view registrations as
select
    l.id,
    l.account_id,
    coalesce(a.name, '') as account_name,
    coalesce(a.realm::text, '') as account_realm,
    coalesce(l.device_id, '') as authorizing_id,
    'device' as authorizing_type,
    unfolded(l.callid) as call_id,
    u.contact,
    coalesce(hostport_host(u.contact_at), '') as contact_ip,
    coalesce(sip_uri_port(u.contact, u.contact_at), '') as contact_port,
    t.event + 62167219200 as event_timestamp,
    t.lifetime as expires,
    false as first_registration,
    coalesce(unfolded(f.from_host), t.realm) as from_host,
    coalesce(unfolded(f.from_user), l.username) as from_user,
    least(t.event, floor(date_part('epoch', l.first_registered_at))::bigint) + 62167219200 as initial_registration,
    t.event + 62167219200 as last_registration,
    coalesce(hostport_host(u.source_at), 'undefined') as network_ip,
    coalesce(sip_uri_port(u.source, u.source_at), 'undefined') as network_port,
    case
        when strpos(u.contact, ';alias=') > 0
            then regexp_replace(u.contact, ';alias=[^;?~]+~[0-9]+~[1-9](?=[;?]|$)', '')
        else u.contact
    end as original_contact,
    coalesce(l.owner_id, '') as owner_id,
    nullif(d.presence_id, '') as presence_id,
    coalesce(hostport_host(u.socket_at), '') as proxy_ip,
    coalesce(hostport_port(u.socket_at), '') as proxy_port,
    registration_protocol(u.socket_protocol, u.received, u.contact, l.path) as proxy_protocol,
    nullif(unfolded(l.path), '') as proxy_path,
    t.realm,
    coalesce(d.register_overwrite_notify, false) as register_overwrite_notify,
    nullif(n.hostname, '') as registrar_hostname,
    nullif(n.name, '') as registrar_node,
    hostport_host(u.source_at) as source_ip,
    sip_uri_port(u.source, u.source_at) as source_port,
    coalesce(d.suppress_unregister_notify, true) as suppress_unregister_notify,
    t.realm as to_host,
    l.username as to_user,
    unfolded(l.user_agent) as user_agent,
    l.username,
    l.ruid,
    l.server_id,
    to_timestamp(t.event) as registered_at,
    to_timestamp(nullif(l.expires_epoch, 0)) as expires_at
from live_location l
left join account a on a.id = l.account_id
-- By the AoR as well: in a directory of the operator's own a device may have several. One look into the index a row:
-- while that is empty the planner would rather read all of it, and then go on to when it is not.
left join lateral (
    select d.presence_id, d.suppress_unregister_notify, d.register_overwrite_notify
    from directory d
    where d.device_id = l.device_id
        and d.username = lower(l.username)
        and d.realm = lower(coalesce(l.realm, kamailio_default_realm(), a.realm::text))
        and (d.presence_id is not null or not d.suppress_unregister_notify or d.register_overwrite_notify)
    offset 0
) d on true
-- The same. A binding with usrloc's own received has nothing to show from there, unless third parties register phones here.
-- That they do is asked once a query: a list of 10,000 takes two thirds of the time without the look-ups.
left join lateral (
    select s.received, s.from_user, s.from_host
    from registration_source s
    where s.ruid = l.ruid
        and (
            (coalesce(l.received, '') = '' and (select exists (select from registration_source)))
            or (select exists (select from registration_source where from_user is not null or from_host is not null))
        )
    offset 0
) f on true
-- A handful, which is read once a query.
left join (select * from kamailio_node offset 0) n on n.server_id = l.server_id
cross join lateral (
    select
        s.contact,
        s.received,
        coalesce(s.received, s.contact) as source,
        case
            when hostport_is_plain(s.contact_middle) then s.contact_middle else sip_uri_hostport(s.contact)
        end as contact_at,
        case
            when hostport_is_plain(s.source_middle) then s.source_middle
            else sip_uri_hostport(coalesce(s.received, s.contact))
        end as source_at,
        -- such as tcp:[::1]:5060
        case
            when l.socket like any (array['udp:%', 'tcp:%', 'tls:%']) then left(l.socket, 3)
            else lower(substring(l.socket from '^([a-zA-Z]+):'))
        end as socket_protocol,
        case
            when l.socket like any (array['udp:_%', 'tcp:_%', 'tls:_%']) then right(l.socket, -4)
            else substring(l.socket from '^[a-zA-Z]+:(.+)$')
        end as socket_at
    from (
        select
            c.contact,
            c.received,
            sip_uri_middle(c.contact) as contact_middle,
            sip_uri_middle(coalesce(c.received, c.contact)) as source_middle
        from (
            select unfolded(l.contact) as contact, coalesce(nullif(l.received, ''), f.received) as received
            offset 0
        ) c
        offset 0
    ) s
    offset 0
) u
cross join lateral (
    select
        e.event,
        case l.expires_epoch when 0 then 0 else greatest(l.expires_epoch - e.event, 0) end as lifetime,
        coalesce(l.realm, kamailio_default_realm(), a.realm::text, '') as realm
    from (
        select coalesce(
            nullif(l.modified_epoch, 0),
            floor(date_part('epoch', l.first_registered_at))::bigint,
            0
        ) as event
    ) e
) t;

create or replace function registrations_count(wanted_account text) returns bigint
    language plpgsql stable parallel safe set plan_cache_mode = force_generic_plan set search_path from current
as $$
begin
    if exists (select from location l where l.enriched_at is null) then
        return (select count(*) from live_location l where l.account_id between wanted_account and wanted_account);
    end if;
    return (
        select count(*)
        from location l
        where l.account_id between wanted_account and wanted_account
            and registration_shows(
                registration_epoch(l.expires), registration_epoch(l.last_modified), l.cseq, l.callid, l.flushed_epoch,
                l.flushed_cseq, l.flushed_callid
            )
    );
end $$;

-- For the release before, which the next one drops: Kamailio with its registrations.cfg, its worker and its API. What it
-- takes for the bytes of a text is the text now.
drop table registration_from;

create view registration_from as select ruid, from_user, from_host, updated_at from registration_source;

comment on view registration_from is 'for Kamailio with the registrations.cfg of before 0026, which writes there';

grant select, insert, update, delete on registration_from to registrations_kamailio;
grant select, delete on registration_from to registrations_sync;

create or replace function registration_text(stored text) returns text language sql immutable parallel safe
    return stored;

comment on function registration_text(text) is 'for statements of before 0026, where texts were stored otherwise';

drop function registration_text_decoded(text);
