-- The same columns and values as before at half the cost again; what a list of 10,000 spends its time on was measured.

-- Of the directory a row of the list has only three facts, which hardly any device has other than by default. So only
-- those devices are looked up that have; the index holds no others, and mostly nothing.
drop index device_id_hash_idx;

create index device_unusual_idx on device (id)
    where presence_id is not null or not suppress_unregister_notify or register_overwrite_notify;

-- A handful of rows, which autovacuum never looks at: without its statistics the planner takes it for a thousand.
analyze kamailio_node;

-- With the row itself behind what the directory says of it: whoever reads both needs no second look at the table.
create or replace view location_directory as
select
    l.id,
    coalesce(d.account_id, a.id::text) as account_id,
    d.device_id,
    d.owner_id,
    l.ruid, l.username, l.domain, l.contact, l.received, l.path, l.expires, l.callid, l.cseq, l.last_modified,
    l.user_agent, l.socket, l.instance, l.server_id, l.enriched_at, l.first_registered_at, l.flushed_epoch,
    l.flushed_cseq
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

create or replace view live_location as
select
    l.id, l.account_id, l.device_id, l.owner_id, nullif(l.domain, '') as realm,
    registration_epoch(l.expires) as expires_epoch, registration_epoch(l.last_modified) as modified_epoch,
    l.first_registered_at, l.ruid, registration_text(l.username) as username, l.contact, l.received, l.path, l.callid, l.user_agent, l.socket,
    l.instance, l.server_id
from location l
where l.enriched_at is not null
    and registration_shows(
        registration_epoch(l.expires), registration_epoch(l.last_modified), l.cseq, l.flushed_epoch, l.flushed_cseq
    )
union all
select
    e.id, e.account_id, e.device_id, e.owner_id, nullif(e.domain, '') as realm,
    registration_epoch(e.expires), registration_epoch(e.last_modified),
    e.first_registered_at, e.ruid, registration_text(e.username) as username, e.contact, e.received, e.path, e.callid, e.user_agent, e.socket,
    e.instance, e.server_id
from location_directory e
where e.enriched_at is null
    and registration_shows(
        registration_epoch(e.expires), registration_epoch(e.last_modified), e.cseq, e.flushed_epoch, e.flushed_cseq
    );

-- What sip:user@host:port;parameters has between @ and the first semicolon; null for what begins otherwise. It may be
-- asked about stored text, since the bytes of UTF-8 characters are in none of these marks.
create function sip_uri_middle(uri text) returns text language sql immutable parallel safe
    return case
        when uri like 'sip:%' then split_part(right(uri, - coalesce(nullif(strpos(uri, '@'), 0), 4)), ';', 1)
    end;

-- Is that host and port as sip_uri_hostport would give them, the host being a name or an IPv4 address?
create function hostport_is_plain(hostport text) returns boolean language sql immutable parallel safe
    return hostport ~ '^[0-9A-Za-z.-]+(?::[0-9]+)?$';

create or replace function sip_uri_port(uri text, hostport text) returns text language sql immutable parallel safe
    return case
        when hostport is not null then coalesce(
            hostport_port(hostport),
            case when uri ilike 'sips:%' or sip_uri_transport(uri) = 'tls' then '5061' else '5060' end
        )
    end;

-- A column that may be null is never empty: what is empty is not known. An expression that stands twice in a query is
-- evaluated twice, so what several columns are made of comes from a subquery that offset 0 keeps apart.
create or replace view registrations as
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
    least(t.event, floor(date_part('epoch', l.first_registered_at))::bigint) + 62167219200 as initial_registration,
    t.event + 62167219200 as last_registration,
    coalesce(hostport_host(u.received_at), 'undefined') as network_ip,
    coalesce(sip_uri_port(l.received, u.received_at), 'undefined') as network_port,
    case
        when strpos(u.contact, ';alias=') > 0
            then regexp_replace(u.contact, ';alias=[^;?~]+~[0-9]+~[1-9](?=[;?]|$)', '')
        else u.contact
    end as original_contact,
    coalesce(l.owner_id, '') as owner_id,
    nullif(d.presence_id, '') as presence_id,
    coalesce(hostport_host(u.socket_at), '') as proxy_ip,
    coalesce(hostport_port(u.socket_at), '') as proxy_port,
    registration_protocol(u.socket_protocol, l.received, u.contact, l.path) as proxy_protocol,
    nullif(registration_text(l.path), '') as proxy_path,
    t.realm,
    coalesce(d.register_overwrite_notify, false) as register_overwrite_notify,
    nullif(n.hostname, '') as registrar_hostname,
    nullif(n.name, '') as registrar_node,
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
-- Empty nearly everywhere, which is asked once a query instead of once a row.
left join (
    select * from registration_from where (select exists (select from registration_from))
) f on f.ruid = l.ruid
-- A handful, which is read once a query.
left join (select * from kamailio_node offset 0) n on n.server_id = l.server_id
cross join lateral (
    select
        s.contact,
        case
            when hostport_is_plain(s.contact_middle) then s.contact_middle else sip_uri_hostport(s.contact)
        end as contact_at,
        case
            when hostport_is_plain(s.received_middle) then s.received_middle else sip_uri_hostport(l.received)
        end as received_at,
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
            registration_text(l.contact) as contact,
            sip_uri_middle(l.contact) as contact_middle,
            sip_uri_middle(l.received) as received_middle
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

drop function sip_uri_hostport_plain(text);

-- As in 0011, but what waits for the worker is only asked for where anything does: starting that half of live_location
-- costs a fifth of counting 200 rows.
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
                registration_epoch(l.expires), registration_epoch(l.last_modified), l.cseq, l.flushed_epoch,
                l.flushed_cseq
            )
    );
end $$;
