-- Reading what Kamailio stores: facts of the site, times, names, and the URIs of phones.
-- Locks no table of Kamailio's.

-- Facts of the site. `registrations-db migrate` redefines them from its settings.
create function kamailio_timezone() returns text language sql immutable parallel safe return 'UTC'::text;

create function kamailio_default_realm() returns text language sql immutable parallel safe return null::text;

comment on function kamailio_timezone() is 'zone in which Kamailio writes TIMESTAMP columns (it writes its own wall clock)';
comment on function kamailio_default_realm() is 'realm of the AoRs that usrloc keeps without a domain (use_domain=0); null: not set';

create table kamailio_node (
    server_id integer primary key,
    name text not null,
    hostname text not null
);

comment on table kamailio_node is 'names of the Kamailio nodes by their server_id; written by registrations-db migrate';
comment on column kamailio_node.server_id is 'Kamailio''s server_id';
comment on column kamailio_node.name is 'name of the node in REGISTRATIONS_KAMAILIO_NODES';
comment on column kamailio_node.hostname is 'what follows the @ in that name, or else all of it';

-- A handful of rows, which autovacuum never looks at: without statistics the planner expects a thousand.
analyze kamailio_node;

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

comment on function registration_epoch(bigint) is 'epoch seconds of expires or last_modified; 0: never';
comment on function registration_epoch(timestamp) is 'epoch seconds of expires or last_modified in Kamailio''s zone; 0: never';
comment on function registration_epoch(timestamptz) is 'epoch seconds of expires or last_modified; 0: never';

-- SIP names (usernames, domains, devices) are compared without regard to case as usrloc does it, A to Z alone. lower() would
-- follow the server's locale: in a Turkish one lower('INFO') is ınfo.
create function sip_lower(name text) returns text language sql immutable parallel safe
    return lower(name collate "C");

comment on function sip_lower(text) is 'a SIP name in lower case as usrloc writes it: A to Z alone, whatever the server''s locale';

-- usrloc splits an AoR at its first "@". A user part may have one, escaped: sip:anna%40corp.example@example.com is stored as
-- anna and corp.example@example.com. These two split it at the last one, and leave alone what is stored without a domain.
create function aor_username(username text, domain text) returns text language sql immutable parallel safe
    return case
        when strpos(domain, '@') > 0 then username || '@' || left(domain, -1 - length(split_part(domain, '@', -1)))
        else username
    end;

create function aor_realm(domain text) returns text language sql immutable parallel safe
    return nullif(case when strpos(domain, '@') > 0 then split_part(domain, '@', -1) else domain end, '');

comment on function aor_username(text, text) is 'user of an AoR, split at its last @';
comment on function aor_realm(text) is 'domain of an AoR, split at its last @; null: none is stored';

-- A header that was folded (RFC 3261, 7.3.1) has one blank instead of each line break.
create function unfolded(header text) returns text language sql immutable parallel safe
    return case
        when strpos(header, E'\n') > 0 or strpos(header, E'\r') > 0
            then regexp_replace(header, '[ \t]*[\r\n][ \t\r\n]*', ' ', 'g')
        else header
    end;

comment on function unfolded(text) is 'a header of a phone''s on one line';

create function sip_instance(stored text) returns text language sql immutable parallel safe
    return nullif(btrim(unfolded(stored), '"<> '), '');

comment on function sip_instance(text) is 'the URN in +sip.instance (RFC 5626), without quotes and angle brackets; null: the phone sent none';

-- Host and port as they are written in a SIP URI (RFC 3261, 19.1.1). As in Kamailio's parse_uri, all before the first @ is
-- the user part.
create function sip_uri_hostport(uri text) returns text language sql immutable parallel safe
    return case
        when uri collate "C" ilike 'sip:%' or uri collate "C" ilike 'sips:%' then
            substring(
                substr(uri, 1 + coalesce(nullif(strpos(uri, '@'), 0), strpos(uri, ':')))
                from '^((?:\[[^]]+\]|[^]\[:;?>@]+)(?::[0-9]+)?)(?:[;?>]|$)'
            )
    end;

comment on function sip_uri_hostport(text) is 'host and port of a SIP URI, as written; null: another text, such as tel:';

-- Most Contacts are sip:user@host:port;parameters with a name or an IPv4 address. Of those these two find host and port
-- without a capturing regular expression, at a tenth of its cost. All others go to sip_uri_hostport.
create function sip_uri_middle(uri text) returns text language sql immutable parallel safe
    return case
        when uri like 'sip:%' then split_part(right(uri, - coalesce(nullif(strpos(uri, '@'), 0), 4)), ';', 1)
    end;

create function hostport_is_plain(hostport text) returns boolean language sql immutable parallel safe
    return hostport ~ '^[0-9A-Za-z.-]+(?::[0-9]+)?$';

comment on function sip_uri_middle(text) is 'what a SIP URI has between @ and the first semicolon; null: it does not begin with sip:';
comment on function hostport_is_plain(text) is 'whether a text is host and port, the host being a name or an IPv4 address';

-- The two parts of host:port or [IPv6]:port, which is also the end of a usrloc socket.
create function hostport_host(hostport text) returns text language sql immutable parallel safe
    return case
        when hostport like '[%' then split_part(hostport, ']', 1) || ']'
        else split_part(hostport, ':', 1)
    end;

create function hostport_port(hostport text) returns text language sql immutable parallel safe
    return nullif(
        case when hostport like '[%' then split_part(hostport, ']:', 2) else split_part(hostport, ':', 2) end, ''
    );

comment on function hostport_host(text) is 'host of host:port; an IPv6 address keeps its brackets';
comment on function hostport_port(text) is 'port of host:port; null: it has none';

-- The first case is how usrloc writes it: at the end.
create function sip_uri_transport(uri text) returns text language sql immutable parallel safe
    return case
        when uri like 'sip:%' and strpos(uri, '?') = 0
            and split_part(uri, ';transport=', -1) in ('udp', 'tcp', 'tls', 'ws')
            then split_part(uri, ';transport=', -1)
        when uri collate "C" ilike '%;transport=%' then
            sip_lower(substring(substr(uri, strpos(uri, '@') + 1) collate "C" from '(?i)^[^?]*;transport=([a-z-]+)'))
    end;

create function sip_uri_port(uri text, hostport text) returns text language sql immutable parallel safe
    return case
        when hostport is not null then coalesce(
            hostport_port(hostport),
            case when uri collate "C" ilike 'sips:%' or sip_uri_transport(uri) = 'tls' then '5061' else '5060' end
        )
    end;

comment on function sip_uri_transport(text) is 'transport parameter of a SIP URI, in lower case; null: it has none';
comment on function sip_uri_port(text, text) is 'port of a SIP URI whose host and port are given, or else the default of RFC 3261, 19.1.2';

-- No URI makes it raise: only what has passed for an address is cast, which is less than PostgreSQL accepts. The expression
-- is also that of two indexes of location (0002).
create function sip_uri_address(uri text) returns inet language sql immutable parallel safe
    return case
        when uri !~ '^[Ss][Ii][Pp][Ss]?:' then null
        when substr(uri, 1 + coalesce(nullif(strpos(uri, '@'), 0), strpos(uri, ':')))
            ~ '^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}'  -- IPv4
              '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?::[0-9]+)?(?:[;?>]|$)'
            then substring(substr(uri, 1 + coalesce(nullif(strpos(uri, '@'), 0), strpos(uri, ':'))) from '^[0-9.]+')::inet
        when substr(uri, 1 + coalesce(nullif(strpos(uri, '@'), 0), strpos(uri, ':'))) like '[%'
            and substr(uri, 1 + coalesce(nullif(strpos(uri, '@'), 0), strpos(uri, ':')))
            ~ '^[[](?:'
              '(?:[0-9A-Fa-f]{1,4}:){7}(?:[0-9A-Fa-f]{1,4}|:)|:(?::[0-9A-Fa-f]{1,4}){7}'  -- all eight groups, or :: for one
              '|(?=(?:[^]:%]*:){2,7}[^]:%]*[]%])'  -- :: for several, which 2 to 7 colons leave room for
              '(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?'
              '|(?:[0-9A-Fa-f]{1,4}:){6}(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}'  -- IPv4 at its end
              '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
              '|(?=(?:[^]:%]*:){2,6}[^]:%]*[]%])'  -- the same with ::
              '(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}:)*'
              '(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}'
              '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
              ')(?:%[^]]*)?[]](?::[0-9]+)?(?:[;?>]|$)'  -- a zone, a port, and the end of the host
            then substring(substr(uri, 1 + coalesce(nullif(strpos(uri, '@'), 0), strpos(uri, ':'))) from '[0-9A-Fa-f:.]+')::inet
    end;

comment on function sip_uri_address(text) is 'IP address of a SIP URI, without a zone such as %eth0; null: a host name, or no SIP URI';

-- usrloc tells WebSocket only by transport=ws in received, and WSS from WS only by the socket. Where received is not kept,
-- the Contact tells, but not behind another proxy (Path).
create function registration_protocol(socket_protocol text, received text, contact text, path text) returns text
    language sql immutable parallel safe
    return case
        when socket_protocol is null and received is null then null
        when coalesce(socket_protocol, 'tcp') in ('tcp', 'tls')
            and sip_uri_transport(coalesce(received, case when coalesce(path, '') = '' then contact end)) = 'ws'
            then case when socket_protocol = 'tls' then 'wss' else 'ws' end
        else coalesce(socket_protocol, sip_uri_transport(received), 'udp')
    end;

comment on function registration_protocol(text, text, text, text) is 'protocol that a phone speaks to the proxy: udp, tcp, tls, ws, wss or sctp; null: not known';
