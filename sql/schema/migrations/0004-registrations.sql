-- The read model: one view that the API, reports and pages read, so that list, count and report cannot disagree.

create table registration_from (
    ruid text primary key,
    from_user text,
    from_host text,
    updated_at timestamptz not null default now()
);

comment on table registration_from is 'the From of a third-party REGISTER, stored by Kamailio only where it differs from To';

create table kamailio_node (
    server_id integer primary key,
    name text not null,
    hostname text not null
);

comment on table kamailio_node is 'names of the Kamailio nodes by their server_id; written by registrations-db migrate';

-- Facts of the site that the views need. registrations-db migrate redefines them from its settings.
create function kamailio_timezone() returns text language sql immutable parallel safe return 'UTC'::text;

create function kamailio_default_realm() returns text language sql immutable parallel safe return null::text;

comment on function kamailio_timezone() is 'zone in which Kamailio writes TIMESTAMP columns (it writes its own wall clock)';
comment on function kamailio_default_realm() is 'realm of the AoRs that usrloc keeps without a domain (use_domain=0)';

-- The functions below are not declared strict: a strict one with a CASE is not inlined, and costs ten times as much.

-- Epoch seconds of a time as usrloc keeps it: BIGINT with expires_type=1, TIMESTAMP without. 0 means never.
-- A permanent contact is epoch 0 on the wall clock of whatever zone Kamailio then ran in, so within 14 hours of it.
create function registration_epoch(at bigint) returns bigint language sql immutable parallel safe
    return at;

create function registration_epoch(at timestamp) returns bigint language sql immutable parallel safe
    return case
        when at between '1969-12-31 10:00' and '1970-01-01 14:00' then 0
        else floor(extract(epoch from at at time zone kamailio_timezone()))::bigint
    end;

create function registration_epoch(at timestamptz) returns bigint language sql immutable parallel safe
    return case
        when at between '1969-12-31 10:00+00' and '1970-01-01 14:00+00' then 0
        else floor(extract(epoch from at))::bigint
    end;

-- Does a binding show? usrloc: VALID_CONTACT in ul_mod, expires > now or 0. A tombstone hides what has not
-- registered again since.
create function registration_shows(expires bigint, last_modified bigint, flushed_at timestamptz) returns boolean
    language sql stable parallel safe
    return (expires = 0 or expires > extract(epoch from now())::float8)
        and (flushed_at is null or last_modified > extract(epoch from flushed_at)::float8);

-- Kamailio's connection declares LATIN1, so that no byte a phone sends can fail; UTF-8 text then lies in the
-- column as one character per byte. Text whose characters are the bytes of valid UTF-8 (RFC 3629) is decoded.
create function registration_text(stored text) returns text language sql immutable parallel safe
    return case
        when octet_length(stored) = length(stored) then stored
        when stored ~ ('^([\u0001-\u007f]|[\u00c2-\u00df][\u0080-\u00bf]|\u00e0[\u00a0-\u00bf][\u0080-\u00bf]'
            '|[\u00e1-\u00ec\u00ee\u00ef][\u0080-\u00bf]{2}|\u00ed[\u0080-\u009f][\u0080-\u00bf]'
            '|\u00f0[\u0090-\u00bf][\u0080-\u00bf]{2}|[\u00f1-\u00f3][\u0080-\u00bf]{3}'
            '|\u00f4[\u0080-\u008f][\u0080-\u00bf]{2})*$')
            then convert_from(convert_to(stored, 'LATIN1'), 'UTF8')
        else stored
    end;

-- Host and port as they stand in a SIP URI (RFC 3261, 19.1.1); null for any other text, such as tel:. As in
-- Kamailio's parse_uri, all before the first @ is the user part.
create function sip_uri_hostport(uri text) returns text language sql immutable parallel safe
    return case
        when uri ilike 'sip:%' or uri ilike 'sips:%'
            then substring(
                substr(uri, 1 + coalesce(nullif(strpos(uri, '@'), 0), strpos(uri, ':')))
                from '^((?:\[[^]]+\]|[^]\[:;?>@]+)(?::[0-9]+)?)(?:[;?>]|$)'
            )
    end;

-- The two parts of host:port or [IPv6]:port, which is also the end of a usrloc socket. IPv6 keeps its brackets.
create function hostport_host(hostport text) returns text language sql immutable parallel safe
    return case
        when hostport like '[%' then split_part(hostport, ']', 1) || ']'
        else split_part(hostport, ':', 1)
    end;

create function hostport_port(hostport text) returns text language sql immutable parallel safe
    return nullif(
        case when hostport like '[%' then split_part(hostport, ']:', 2) else split_part(hostport, ':', 2) end, ''
    );

-- The transport parameter of a SIP URI in lower case; null where there is none.
create function sip_uri_transport(uri text) returns text language sql immutable parallel safe
    return case
        when uri ilike '%;transport=%'
            then lower(substring(substr(uri, strpos(uri, '@') + 1) from '(?i)^[^?]*;transport=([a-z-]+)'))
    end;

-- The port of a SIP URI, or else the one that RFC 3261, 19.1.2 says.
create function sip_uri_port(uri text, hostport text) returns text language sql immutable parallel safe
    return case
        when hostport is null then null
        when hostport_port(hostport) is not null then hostport_port(hostport)
        when uri ilike 'sips:%' or sip_uri_transport(uri) = 'tls' then '5061'
        else '5060'
    end;

-- The protocol that a phone speaks to the proxy. usrloc tells WebSocket only by transport=ws in received, and WSS
-- from WS only by the socket. Where received is not kept, the contact tells, but not behind another proxy (Path).
create function registration_protocol(socket_protocol text, received text, contact text, path text) returns text
    language sql immutable parallel safe
    return case
        when socket_protocol is null and received is null then null
        when coalesce(socket_protocol, 'tcp') in ('tcp', 'tls')
            and sip_uri_transport(coalesce(received, case when coalesce(path, '') = '' then contact end)) = 'ws'
            then case when socket_protocol = 'tls' then 'wss' else 'ws' end
        else coalesce(socket_protocol, sip_uri_transport(received), 'udp')
    end;

-- What the directory says of every row of location: the facts that enrichment writes, and the API's answer
-- until it has. The realm of an AoR without a domain is the site's default, or the only one there is.
create view location_directory as
select
    l.id,
    coalesce(d.account_id, a.id::text) as account_id,
    d.device_id,
    d.owner_id
from location l
cross join (
    select coalesce(
        kamailio_default_realm(),
        (select case when min(realm::text) = max(realm::text) then min(realm::text) end from account)
    ) as realm
) fallback
left join directory d on d.username = lower(registration_text(l.username))
    and d.realm = lower(coalesce(nullif(l.domain, ''), fallback.realm))
left join account a on a.realm = lower(coalesce(nullif(l.domain, ''), fallback.realm));

-- Every row of location that shows, with its account, device and owner.
create view live_location as
select
    l.id, l.account_id, l.device_id, l.owner_id, nullif(l.domain, '') as realm,
    registration_epoch(l.expires) as expires_epoch, registration_epoch(l.last_modified) as modified_epoch,
    l.first_registered_at, l.ruid, registration_text(l.username) as username, l.contact, l.received, l.path, l.callid, l.user_agent, l.socket,
    l.instance, l.server_id
from location l
where l.enriched_at is not null
    and registration_shows(registration_epoch(l.expires), registration_epoch(l.last_modified), l.flushed_at)
union all
select
    l.id, e.account_id, e.device_id, e.owner_id, nullif(l.domain, '') as realm,
    registration_epoch(l.expires), registration_epoch(l.last_modified),
    l.first_registered_at, l.ruid, registration_text(l.username) as username, l.contact, l.received, l.path, l.callid, l.user_agent, l.socket,
    l.instance, l.server_id
from location l
join location_directory e on e.id = l.id
where l.enriched_at is null
    and registration_shows(registration_epoch(l.expires), registration_epoch(l.last_modified), l.flushed_at);

-- Times are Gregorian seconds, as Kazoo's: Unix + 62167219200. The two columns *_at are for reports.
create view registrations as
select
    l.id,
    l.account_id,
    coalesce(a.name, '') as account_name,
    coalesce(a.realm::text, '') as account_realm,
    coalesce(l.device_id, '') as authorizing_id,
    'device' as authorizing_type,
    registration_text(l.callid) as call_id,
    u.contact,
    coalesce(hostport_host(u.contact_at), '') as contact_ip,
    coalesce(sip_uri_port(u.contact, u.contact_at), '') as contact_port,
    t.event + 62167219200 as event_timestamp,
    t.lifetime as expires,
    false as first_registration,
    coalesce(registration_text(f.from_host), t.realm) as from_host,
    coalesce(registration_text(f.from_user), l.username) as from_user,
    least(t.event, floor(extract(epoch from l.first_registered_at))::bigint) + 62167219200 as initial_registration,
    t.event + 62167219200 as last_registration,
    coalesce(hostport_host(u.received_at), 'undefined') as network_ip,
    coalesce(sip_uri_port(l.received, u.received_at), 'undefined') as network_port,
    case
        when u.contact ~ ';alias='
            then regexp_replace(u.contact, ';alias=[^;?~]+~[0-9]+~[1-9](?=[;?]|$)', '')
        else u.contact
    end as original_contact,
    coalesce(l.owner_id, '') as owner_id,
    d.presence_id,
    coalesce(hostport_host(u.socket_at), '') as proxy_ip,
    coalesce(hostport_port(u.socket_at), '') as proxy_port,
    registration_protocol(u.socket_protocol, l.received, u.contact, l.path) as proxy_protocol,
    nullif(registration_text(l.path), '') as proxy_path,
    t.realm,
    coalesce(d.register_overwrite_notify, false) as register_overwrite_notify,
    n.hostname as registrar_hostname,
    n.name as registrar_node,
    hostport_host(u.received_at) as source_ip,
    sip_uri_port(l.received, u.received_at) as source_port,
    coalesce(d.suppress_unregister_notify, true) as suppress_unregister_notify,
    t.realm as to_host,
    l.username as to_user,
    registration_text(l.user_agent) as user_agent,
    l.username,
    l.ruid,
    l.server_id,
    to_timestamp(t.event) as registered_at,
    to_timestamp(nullif(l.expires_epoch, 0)) as expires_at
from live_location l
left join account a on a.id = l.account_id
-- By the AoR as well: in a directory of the operator's own a device may have several.
left join directory d on d.device_id = l.device_id
    and d.username = lower(l.username)
    and d.realm = lower(coalesce(l.realm, kamailio_default_realm(), a.realm::text))
left join registration_from f on f.ruid = l.ruid
left join kamailio_node n on n.server_id = l.server_id
cross join lateral (
    select
        registration_text(l.contact) as contact,
        sip_uri_hostport(registration_text(l.contact)) as contact_at,
        sip_uri_hostport(l.received) as received_at,
        -- such as tcp:[::1]:5060
        lower(substring(l.socket from '^([a-zA-Z]+):')) as socket_protocol,
        substring(l.socket from '^[a-zA-Z]+:(.+)$') as socket_at
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
            floor(extract(epoch from l.first_registered_at))::bigint,
            0
        ) as event
    ) e
) t;

comment on view registrations is 'every binding that is registered now, with the columns named as in the API';
