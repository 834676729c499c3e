-- The same columns and values as before in a fifth of the time. A list of thousands spends all of it on the texts of
-- its rows: string functions cost a tenth of what regular expressions do, and an SQL function that is inlined a tenth
-- of one that is not. So the texts that nearly all rows have take the first way, whatever else the old one.

-- convert_from is stable; in one function with the rest it kept that from being inlined.
create function registration_text_decoded(stored text) returns text language sql immutable parallel safe
    return case
        when stored ~ ('^([\u0001-\u007f]|[\u00c2-\u00df][\u0080-\u00bf]|\u00e0[\u00a0-\u00bf][\u0080-\u00bf]'
            '|[\u00e1-\u00ec\u00ee\u00ef][\u0080-\u00bf]{2}|\u00ed[\u0080-\u009f][\u0080-\u00bf]'
            '|\u00f0[\u0090-\u00bf][\u0080-\u00bf]{2}|[\u00f1-\u00f3][\u0080-\u00bf]{3}'
            '|\u00f4[\u0080-\u008f][\u0080-\u00bf]{2})*$')
            then convert_from(convert_to(stored, 'LATIN1'), 'UTF8')
        else stored
    end;

create or replace function registration_text(stored text) returns text language sql immutable parallel safe
    return case when octet_length(stored) <> length(stored) then registration_text_decoded(stored) else stored end;

-- What sip_uri_hostport gives of sip:user@host:port;parameters, where the host is a name or an IPv4 address; null for
-- whatever looks different. It may be asked about stored text: the bytes of UTF-8 characters are in none of this.
create function sip_uri_hostport_plain(uri text) returns text language sql immutable parallel safe
    return case
        when uri like 'sip:%'
            and split_part(right(uri, - coalesce(nullif(strpos(uri, '@'), 0), 4)), ';', 1)
                ~ '^[0-9A-Za-z.-]+(?::[0-9]+)?$'
            then split_part(right(uri, - coalesce(nullif(strpos(uri, '@'), 0), 4)), ';', 1)
    end;

-- The transport parameter of a SIP URI in lower case; null where there is none. First as usrloc writes it: at the end.
create or replace function sip_uri_transport(uri text) returns text language sql immutable parallel safe
    return case
        when uri like 'sip:%' and strpos(uri, '?') = 0
            and split_part(uri, ';transport=', -1) in ('udp', 'tcp', 'tls', 'ws')
            then split_part(uri, ';transport=', -1)
        when uri ilike '%;transport=%'
            then lower(substring(substr(uri, strpos(uri, '@') + 1) from '(?i)^[^?]*;transport=([a-z-]+)'))
    end;

create or replace function registration_lives(expires bigint) returns boolean language sql stable parallel safe
    return expires = 0 or expires > date_part('epoch', now());

create or replace function registration_shows(
    expires bigint, modified_epoch bigint, cseq integer, flushed_epoch bigint, flushed_cseq integer
) returns boolean language sql stable parallel safe
    return (expires = 0 or expires > date_part('epoch', now()))
        and (
            flushed_epoch is null
            or modified_epoch > flushed_epoch
            or (modified_epoch = flushed_epoch and cseq <> flushed_cseq)
        );

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
    coalesce(u.source_ip, 'undefined') as network_ip,
    coalesce(u.source_port, 'undefined') as network_port,
    case
        when strpos(u.contact, ';alias=') > 0
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
    u.source_ip,
    u.source_port,
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
        s.contact,
        s.contact_at,
        hostport_host(s.received_at) as source_ip,
        sip_uri_port(l.received, s.received_at) as source_port,
        s.socket_protocol,
        s.socket_at
    from (
        select
            registration_text(l.contact) as contact,
            coalesce(
                sip_uri_hostport_plain(l.contact), sip_uri_hostport(registration_text(l.contact))
            ) as contact_at,
            coalesce(sip_uri_hostport_plain(l.received), sip_uri_hostport(l.received)) as received_at,
            -- such as tcp:[::1]:5060
            case
                when l.socket like any (array['udp:%', 'tcp:%', 'tls:%']) then left(l.socket, 3)
                else lower(substring(l.socket from '^([a-zA-Z]+):'))
            end as socket_protocol,
            case
                when l.socket like any (array['udp:_%', 'tcp:_%', 'tls:_%']) then right(l.socket, -4)
                else substring(l.socket from '^[a-zA-Z]+:(.+)$')
            end as socket_at
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

-- How many bindings of an account live_location has. Making the plan takes ten times as long as counting a few hundred
-- rows, so it is made once a session, for any account: a range of one account is few rows to the planner, whatever
-- share of the table one account has, and so an index scan.
create function registrations_count(wanted_account text) returns bigint
    language plpgsql stable parallel safe set plan_cache_mode = force_generic_plan set search_path from current
as $$
begin
    return (select count(*) from live_location l where l.account_id between wanted_account and wanted_account);
end $$;

-- As in 0006, word for word, but in a language that keeps its plans between two calls.
create or replace function token_access(given_hash bytea, wanted_account text)
    returns table (
        token_hash bytea, account_id text, superduper_admin boolean,
        wanted_exists boolean, wanted_in_tree boolean, restrictions jsonb
    )
    language plpgsql volatile security definer set search_path from current
as $$
#variable_conflict use_column
begin
    update auth_token t set last_used_at = now()
    where t.token_hash = given_hash
        and t.last_used_at < now() - least(interval '1 minute', t.idle_lifetime / 10)
        and (t.idle_lifetime is null or t.last_used_at + t.idle_lifetime > now());
    return query
    select
        t.token_hash, t.account_id::text, a.superduper_admin,
        exists (select from account w where w.id = wanted_account),
        exists (
            with recursive above (id, parent_id) as (
                select w.id::text, w.parent_id::text from account w where w.id = wanted_account
                union
                select p.id::text, p.parent_id::text from account p join above on p.id = above.parent_id
            )
            select from above where above.id = t.account_id
        ),
        t.restrictions
    from auth_token t
    join account a on a.id = t.account_id
    where t.token_hash = given_hash
        and a.enabled
        and (t.idle_lifetime is null or t.last_used_at + t.idle_lifetime > now());
end $$;

-- A list looks each device up by its ID: a hash compares one text, a B-tree of a million twenty, by the locale's rules.
create index device_id_hash_idx on device using hash (id);
