-- The read model: one view that the API, reports and pages read, so that list, count and report cannot disagree.
-- Locks no table of Kamailio's.

create table registration_source (
    ruid text primary key,
    received text,
    from_user text,
    from_host text,
    updated_at timestamptz not null default now()
);

-- Whether there are any third parties.
create index registration_source_from_idx on registration_source (ruid) where from_user is not null or from_host is not null;

create index registration_source_address_idx on registration_source ((sip_uri_address(received)));

comment on table registration_source is 'what a REGISTER said that usrloc does not store; the worker fetches it from Kamailio';
comment on column registration_source.ruid is 'usrloc''s key of the binding';
comment on column registration_source.received is 'SIP URI of where it came from; null: not known';
comment on column registration_source.from_user is 'user of the From of a third party''s REGISTER';
comment on column registration_source.from_host is 'host of that From';
comment on column registration_source.updated_at is 'when Kamailio said so last';

create function registration_lives(expires bigint) returns boolean language sql stable parallel safe
    return expires = 0 or expires > date_part('epoch', now());

comment on function registration_lives(bigint) is 'whether a binding lives, as VALID_CONTACT of usrloc: it ends later than now, or never (0)';

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

comment on function registration_shows(bigint, bigint, integer, text, bigint, integer, text) is 'whether a binding is listed: it lives, and no flush hides it';

-- The API's answer for a row until the worker has enriched it. The realm of an AoR without a domain is the site's default,
-- or the only one there is.
create view location_directory as
select
    l.id,
    coalesce(d.account_id, a.id::text) as account_id,
    d.device_id,
    d.owner_id,
    l.ruid, l.username, l.domain, l.contact, l.received, l.path, l.expires, l.callid, l.cseq, l.last_modified,
    l.user_agent, l.socket, l.instance, l.server_id, l.enriched_at, l.first_registered_at, l.flushed_epoch,
    l.flushed_cseq, l.flushed_callid, l.reg_id
from location l
cross join (
    select coalesce(
        kamailio_default_realm(),
        (select case when min(realm::text) = max(realm::text) then min(realm::text) end from account)
    ) as realm
) fallback
left join directory d on d.username = sip_lower(aor_username(l.username, l.domain))
    and d.realm = sip_lower(coalesce(aor_realm(l.domain), fallback.realm))
left join account a on a.realm = sip_lower(coalesce(aor_realm(l.domain), fallback.realm));

comment on view location_directory is 'every row of location, with the account, device and owner that the directory says now';
comment on column location_directory.account_id is 'account of the device, or else of the realm; null: none';
comment on column location_directory.device_id is 'device with this username and realm; null: none';
comment on column location_directory.owner_id is 'owner of that device; null: nobody';
comment on column location_directory.id is 'as in location';
comment on column location_directory.ruid is 'as in location';
comment on column location_directory.username is 'as in location';
comment on column location_directory.domain is 'as in location';
comment on column location_directory.contact is 'as in location';
comment on column location_directory.received is 'as in location';
comment on column location_directory.path is 'as in location';
comment on column location_directory.expires is 'as in location';
comment on column location_directory.callid is 'as in location';
comment on column location_directory.cseq is 'as in location';
comment on column location_directory.last_modified is 'as in location';
comment on column location_directory.user_agent is 'as in location';
comment on column location_directory.socket is 'as in location';
comment on column location_directory.instance is 'as in location';
comment on column location_directory.server_id is 'as in location';
comment on column location_directory.enriched_at is 'as in location';
comment on column location_directory.first_registered_at is 'as in location';
comment on column location_directory.flushed_epoch is 'as in location';
comment on column location_directory.flushed_cseq is 'as in location';
comment on column location_directory.flushed_callid is 'as in location';
comment on column location_directory.reg_id is 'as in location';

create view live_location as
select
    l.id, l.account_id, l.device_id, l.owner_id, aor_realm(l.domain) as realm,
    registration_epoch(l.expires) as expires_epoch, registration_epoch(l.last_modified) as modified_epoch,
    l.first_registered_at, l.ruid, aor_username(l.username, l.domain) as username, l.contact, l.received, l.path,
    l.callid, l.user_agent, l.socket, l.instance, l.server_id, l.reg_id
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
    e.callid, e.user_agent, e.socket, e.instance, e.server_id, e.reg_id
from location_directory e
where e.enriched_at is null
    and registration_shows(
        registration_epoch(e.expires), registration_epoch(e.last_modified), e.cseq, e.callid, e.flushed_epoch,
        e.flushed_cseq, e.flushed_callid
    );

comment on view live_location is 'every row of location that is listed, with its account, device and owner';
comment on column live_location.account_id is 'account of the device, or else of the realm; null: none';
comment on column live_location.device_id is 'device with this username and realm; null: none';
comment on column live_location.owner_id is 'owner of that device; null: nobody';
comment on column live_location.realm is 'domain of the AoR; null: none is stored';
comment on column live_location.expires_epoch is 'when it ends, epoch seconds; 0: never';
comment on column live_location.modified_epoch is 'its last REGISTER, epoch seconds; 0: not known';
comment on column live_location.username is 'user of the AoR';
comment on column live_location.id is 'as in location';
comment on column live_location.first_registered_at is 'as in location';
comment on column live_location.ruid is 'as in location';
comment on column live_location.contact is 'as in location';
comment on column live_location.received is 'as in location';
comment on column live_location.path is 'as in location';
comment on column live_location.callid is 'as in location';
comment on column live_location.user_agent is 'as in location';
comment on column live_location.socket is 'as in location';
comment on column live_location.instance is 'as in location';
comment on column live_location.server_id is 'as in location';
comment on column live_location.reg_id is 'as in location';

-- A column that may be null is never empty: what is empty is not known. An expression that is used twice in a query is
-- evaluated twice, so a subquery that offset 0 keeps apart has what several columns are made of. The texts that nearly all
-- rows have go the short way by sip_uri_middle: a list of thousands spends its time on the texts of its rows.
create view registrations as
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
    -- Where Kamailio listens on every address, usrloc stores that address as the socket, with `advertise`, too.
    coalesce(
        case
            when u.socket_at like any (array['0.0.0.0:%', '[::]:%']) then n.hostname
            else hostport_host(u.socket_at)
        end, ''
    ) as proxy_ip,
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
    to_timestamp(nullif(l.expires_epoch, 0)) as expires_at,
    sip_instance(l.instance) as instance,
    nullif(l.reg_id, 0) as reg_id
from live_location l
left join account a on a.id = l.account_id
-- By the AoR as well: in a directory of the operator's own a device may have several. One look into the index a row: while
-- that is empty the planner would rather read all of it, and go on doing so when it is not.
left join lateral (
    select d.presence_id, d.suppress_unregister_notify, d.register_overwrite_notify
    from directory d
    where d.device_id = l.device_id
        and d.username = sip_lower(l.username)
        and d.realm = sip_lower(coalesce(l.realm, kamailio_default_realm(), a.realm::text))
        and (d.presence_id is not null or not d.suppress_unregister_notify or d.register_overwrite_notify)
    offset 0
) d on true
-- The same. A binding with usrloc's own received has nothing to show from there, unless third parties register phones here.
-- Whether they do is asked once a query: a list of 10,000 takes two thirds of the time without the look-ups.
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
            else sip_lower(substring(l.socket from '^([a-zA-Z]+):'))
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

comment on view registrations is 'one row for each registration that lives now, with the names and values of Crossbar: times in Gregorian seconds (Unix + 62167219200), texts that are not known empty; reports are easier on report_registration';
comment on column registrations.id is 'number of the row of location; lists are in this order';
comment on column registrations.account_id is 'account whose list it is in; null: no account has its realm';
comment on column registrations.account_name is 'name of that account, or empty';
comment on column registrations.account_realm is 'realm of that account, or empty';
comment on column registrations.authorizing_id is 'device, unique within its account only; empty: the directory has none';
comment on column registrations.authorizing_type is 'always device';
comment on column registrations.call_id is 'Call-ID of the last REGISTER';
comment on column registrations.contact is 'Contact, a SIP URI as Kamailio stored it';
comment on column registrations.contact_ip is 'host of the Contact, IPv6 in brackets, or empty';
comment on column registrations.contact_port is 'port of the Contact, or empty';
comment on column registrations.event_timestamp is 'last REGISTER, Gregorian seconds';
comment on column registrations.expires is 'lifetime that Kamailio granted at the last REGISTER, in seconds, not what remains of it; 0: for ever';
comment on column registrations.first_registration is 'always false';
comment on column registrations.from_host is 'host of the From, the realm unless a third party registered it';
comment on column registrations.from_user is 'user of the From, the username unless a third party registered it';
comment on column registrations.initial_registration is 'when it began, Gregorian seconds';
comment on column registrations.last_registration is 'last REGISTER, Gregorian seconds';
comment on column registrations.network_ip is 'host that the REGISTER came from, IPv6 in brackets, or undefined';
comment on column registrations.network_port is 'port of that, or undefined';
comment on column registrations.original_contact is 'Contact without the alias that an edge proxy added';
comment on column registrations.owner_id is 'owner of the device, or empty';
comment on column registrations.presence_id is 'presence_id of the device; null: none';
comment on column registrations.proxy_ip is 'address of Kamailio that the REGISTER came to, the node''s host where it listens on all, or empty';
comment on column registrations.proxy_port is 'port of that, or empty';
comment on column registrations.proxy_protocol is 'udp, tcp, tls, ws, wss or sctp; null: not known';
comment on column registrations.proxy_path is 'Path header, the way back through edge proxies; null: none';
comment on column registrations.realm is 'domain of the AoR, or empty';
comment on column registrations.register_overwrite_notify is 'as the device has it';
comment on column registrations.registrar_hostname is 'host of the Kamailio node; null: not known';
comment on column registrations.registrar_node is 'name of the Kamailio node; null: not known';
comment on column registrations.source_ip is 'as network_ip; null: not known';
comment on column registrations.source_port is 'as network_port; null: not known';
comment on column registrations.suppress_unregister_notify is 'as the device has it';
comment on column registrations.to_host is 'host of the To: the realm';
comment on column registrations.to_user is 'user of the To: the username';
comment on column registrations.user_agent is 'User-Agent header; n/a: the phone sent none';
comment on column registrations.username is 'user of the AoR, as Kamailio stored it';
comment on column registrations.ruid is 'usrloc''s key of the binding';
comment on column registrations.server_id is 'number of the Kamailio node';
comment on column registrations.registered_at is 'last REGISTER, as a time';
comment on column registrations.expires_at is 'when it ends without a refresh; null: never';
comment on column registrations.instance is '+sip.instance of the Contact, without angle brackets: the same for all registrations of one phone; null: the phone sent none';
comment on column registrations.reg_id is 'reg-id of the Contact, which of its registrations this is; null: the phone sent none';

-- Making the plan takes ten times as long as counting a few hundred rows, so it is made once a session, for any account: a
-- range of one account is few rows to the planner, whatever share of the table one account has, and so an index scan. What
-- waits for the worker is only asked for where anything does: starting that half of live_location costs a fifth of counting
-- 200 rows.
create function registrations_count(wanted_account text) returns bigint
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

comment on function registrations_count(text) is 'how many registrations of an account are listed';
