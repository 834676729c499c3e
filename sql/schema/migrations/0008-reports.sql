-- Reports for people: the views report_registration, report_device, report_account and report_flush, beside `registrations`,
-- which keeps Crossbar's names. Times are timestamptz, addresses inet, what is not known is null. Every column that the role
-- registrations_report may read has a comment.
-- Locks no table of Kamailio's.

-- What phones call themselves. No prefix begins another one, so in byte order the one that fits is the last one before the
-- User-Agent. Its pattern, without regard to case, has two groups: the model, empty for a program, and firmware or version.
-- A session keeps 32 compiled patterns, so vendors share them where they can.
create table user_agent_rule (
    prefix text collate "C" primary key,
    vendor text not null,
    pattern text
);

insert into user_agent_rule (prefix, vendor, pattern)
select unnest(r.prefixes), r.vendor, r.pattern
from (values
    ('Yealink', '^[a-z0-9]+[ /-](?:sip[- ])?([^ /]+)(?:[ /]+v?([0-9]+[._][^ ]*))?', array['yealink']),
    ('Grandstream', '^[a-z0-9]+[ /-](?:sip[- ])?([^ /]+)(?:[ /]+v?([0-9]+[._][^ ]*))?', array['grandstream']),
    ('Fanvil', '^[a-z0-9]+[ /-](?:sip[- ])?([^ /]+)(?:[ /]+v?([0-9]+[._][^ ]*))?', array['fanvil']),
    ('Htek', '^[a-z0-9]+[ /-](?:sip[- ])?([^ /]+)(?:[ /]+v?([0-9]+[._][^ ]*))?', array['htek']),
    ('Sangoma', '^[a-z0-9]+[ /-](?:sip[- ])?([^ /]+)(?:[ /]+v?([0-9]+[._][^ ]*))?', array['digium', 'sangoma']),
    ('Cisco', '^[a-z]+/([a-z]+[0-9][a-z0-9]*)-([^ ]+)', array['cisco/', 'linksys/', 'sipura/']),
    ('Obihai', '^[a-z]+/([a-z]+[0-9][a-z0-9]*)-([^ ]+)', array['obihai/']),
    ('Cisco', '^cisco-(cp-?[^/ ]+)/([^ ]+)', array['cisco-cp']),
    ('Poly', '^poly[^/-]*-([^/]+)-ua/([^ ]+)', array['polycom', 'polyvvx', 'polyedge', 'polytrio', 'polyccx']),
    ('Snom', '^snom[ -]?([a-z]?[0-9]+[a-z]*)(?:[/-]([0-9][^ ]*))?', array['snom']),
    ('Gigaset', '^(?:gigaset )?([^/]+)/([^ ;]+)', array['gigaset ', 'maxwell ', 'n510 ip', 'n670 ip', 'n720 ', 'n870 ip', 'c430a', 'c530 ip', 'c610 ip', 's850a go']),
    ('Panasonic', '^(?:panasonic[-_ /])?(kx-[a-z0-9-]+)(?:/([0-9][^ ]*))?', array['panasonic', 'kx-']),
    ('Mitel', '^(?:mitel|aastra)[ -]?([0-9][a-z0-9]*)(?:-sip|-icp)?(?:[ /]([0-9]+[.][0-9.]*))?', array['mitel', 'aastra']),
    ('Avaya', '^avaya[ -](one-x [a-z]+|[^ /]+)(?:[^0-9.]*[ /]([0-9]+[.][^ ]*))?', array['avaya']),
    ('AudioCodes', '^audiocodes(?:-sip-gateway)?[ /-]([^/]+)(?:/v?[.]?([0-9][^ ]*))?', array['audiocodes']),
    ('AudioCodes', '^audc-ipphone()/([0-9][^ ]*)', array['audc-ipphone']),
    ('Alcatel-Lucent', '^alcatel-lucent ([^ ]+)(?: [^0-9]*([0-9]+[.][^ ]*))?', array['alcatel-lucent']),
    ('AVM', '^avm (fritz![a-z]+(?: [a-z]+)* [0-9]+[a-z]*)(?:[^0-9]* ([0-9]+[.][0-9.]*[0-9]))?', array['avm fritz!']),
    ('2N', '^2n ([a-z][^0-9/]*)[ /]([0-9]+[.][^ ]*)', array['2n ']),
    ('Ubiquiti', null, array['ubiquiti', 'unifi', 'uvp']),
    ('Zoiper', '^[a-z.]+()[ /](?:r?v|rev[.])?([0-9][^ ]*)', array['zoiper', 'z 3.', 'z 5.']),
    ('MicroSIP', '^[a-z.]+()[ /](?:r?v|rev[.])?([0-9][^ ]*)', array['microsip']),
    ('PJSIP', '^[a-z.]+()[ /](?:r?v|rev[.])?([0-9][^ ]*)', array['pjsua', 'pjsip']),
    ('baresip', '^[a-z.]+()[ /](?:r?v|rev[.])?([0-9][^ ]*)', array['baresip']),
    ('JsSIP', '^[a-z.]+()[ /](?:r?v|rev[.])?([0-9][^ ]*)', array['jssip']),
    ('SIP.js', '^[a-z.]+()[ /](?:r?v|rev[.])?([0-9][^ ]*)', array['sip.js']),
    ('Linphone', '^(linphone[ -]?[a-z]*)/([0-9][^ ]*)', array['linphone']),
    ('CounterPath', '^(bria(?: (?!release)[a-z0-9]+)?|x-lite(?: [0-9])?|eyebeam)(?: release)?(?: v?([0-9]+[.][^ ]*))?', array['bria ', 'x-lite', 'eyebeam']),
    ('Acrobits', '^(groundwire|acrobits [^ /]+)(?:[ /]v?([0-9][^ ]*))?', array['acrobits', 'groundwire']),
    ('3CX', '^(3cx ?[a-z]+(?: system| for [a-z]+)?)[ /]([0-9][^ ]*)', array['3cx']),
    ('Asterisk', '^asterisk(?: pbx)?()[ /](?:certified/)?([0-9][^ ]*)', array['asterisk']),
    ('Asterisk', '^fpbx-()[^(]*[(]([0-9][^)]*)', array['fpbx-']),
    ('FreeSWITCH', '^freeswitch(?:-mod_sofia)?()/([0-9][^ ]*)', array['freeswitch'])
) r (vendor, pattern, prefixes);

-- Without statistics the planner expects a thousand rows.
analyze user_agent_rule;

comment on table user_agent_rule is 'vendors by what the User-Agent begins with; each release may replace it';
comment on column user_agent_rule.prefix is 'beginning of the User-Agent, in lower case';
comment on column user_agent_rule.vendor is 'maker of the phone';
comment on column user_agent_rule.pattern is 'regular expression with two groups: model and firmware; null: neither can be told';

-- Live bindings with where each came from: usrloc's received, else what the worker fetched from Kamailio, else the Contact.
-- In three parts, so that an address is found by the index of its part.
create view live_location_address as
select
    l.account_id, l.device_id, l.owner_id, l.realm, l.expires_epoch, l.modified_epoch, l.first_registered_at, l.ruid, l.username,
    l.contact, l.path, l.user_agent, l.socket, l.server_id,
    l.received::text as source, l.received::text as source_received, sip_uri_address(l.received) as source_address,
    l.instance, l.reg_id
from live_location l
where l.received <> ''
union all
select
    l.account_id, l.device_id, l.owner_id, l.realm, l.expires_epoch, l.modified_epoch, l.first_registered_at, l.ruid, l.username,
    l.contact, l.path, l.user_agent, l.socket, l.server_id,
    s.received, s.received, sip_uri_address(s.received),
    l.instance, l.reg_id
from live_location l
join registration_source s on s.ruid = l.ruid
where coalesce(l.received, '') = '' and s.received is not null
union all
select
    l.account_id, l.device_id, l.owner_id, l.realm, l.expires_epoch, l.modified_epoch, l.first_registered_at, l.ruid, l.username,
    l.contact, l.path, l.user_agent, l.socket, l.server_id,
    l.contact::text, null, sip_uri_address(l.contact),
    l.instance, l.reg_id
from live_location l
where coalesce(l.received, '') = ''
    and not exists (select from registration_source s where s.ruid = l.ruid and s.received is not null);

comment on view live_location_address is 'live_location, and where each row came from as SIP URI and as address';
comment on column live_location_address.source is 'SIP URI that it came from';
comment on column live_location_address.source_received is 'the same; null: the Contact stands in for it';
comment on column live_location_address.source_address is 'its address; null: a host name, or not known';
comment on column live_location_address.instance is 'as in live_location';
comment on column live_location_address.reg_id is 'as in live_location';
comment on column live_location_address.account_id is 'as in live_location';
comment on column live_location_address.device_id is 'as in live_location';
comment on column live_location_address.owner_id is 'as in live_location';
comment on column live_location_address.realm is 'as in live_location';
comment on column live_location_address.expires_epoch is 'as in live_location';
comment on column live_location_address.modified_epoch is 'as in live_location';
comment on column live_location_address.first_registered_at is 'as in live_location';
comment on column live_location_address.ruid is 'as in live_location';
comment on column live_location_address.username is 'as in live_location';
comment on column live_location_address.contact is 'as in live_location';
comment on column live_location_address.path is 'as in live_location';
comment on column live_location_address.user_agent is 'as in live_location';
comment on column live_location_address.socket is 'as in live_location';
comment on column live_location_address.server_id is 'as in live_location';

create view report_registration as
select
    l.account_id,
    nullif(a.name, '') as account_name,
    l.device_id,
    nullif(d.device_name, '') as device_name,
    l.owner_id,
    nullif(coalesce(d.owner_name, o.name), '') as owner_name,
    nullif(l.username, '') as username,
    t.realm,
    u.parts[1] as vendor,
    nullif(u.parts[2], '') as model,
    nullif(u.parts[3], '') as firmware,
    t.user_agent,
    l.source_address as network_address,
    case
        when p.network_port
            ~ '^(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$'
            then p.network_port::integer
    end as network_port,
    nullif(t.contact, '') as contact,
    sip_uri_address(l.contact) as contact_address,
    registration_protocol(p.socket_protocol, l.source_received, t.contact, l.path) as protocol,
    nullif(l.server_id, 0) as server_id,
    nullif(k.name, '') as node,
    least(date_trunc('second', l.first_registered_at), t.last_registered_at) as first_registered_at,
    t.last_registered_at,
    to_timestamp(nullif(l.expires_epoch, 0)) as expires_at,
    date_trunc('second', to_timestamp(nullif(l.expires_epoch, 0)) - now()) as expires_in,
    l.ruid::text as ruid,
    sip_instance(l.instance) as instance,
    nullif(l.reg_id, 0) as reg_id
from live_location_address l
left join account a on a.id = l.account_id
left join owner o on o.id = l.owner_id and o.account_id = l.account_id
left join (select * from kamailio_node offset 0) k on k.server_id = l.server_id
cross join lateral (
    select
        coalesce(l.realm, kamailio_default_realm(), a.realm::text) as realm,
        nullif(nullif(unfolded(l.user_agent), ''), 'n/a') as user_agent,  -- usrloc's word for a REGISTER without one
        unfolded(l.contact) as contact,
        coalesce(to_timestamp(nullif(l.modified_epoch, 0)), date_trunc('second', l.first_registered_at))
            as last_registered_at
) t
-- A device has its ID within an account. By the AoR, too: in a directory of the operator's own a device may have several.
left join directory d on d.account_id = l.account_id
    and d.device_id = l.device_id
    and d.username = sip_lower(l.username)
    and d.realm = sip_lower(t.realm)
-- A query that asks for none of these does not work them out. The one rule that may fit is the last one before the User-Agent.
cross join lateral (
    select (
        select case
            when starts_with(x.lower_agent, r.prefix)
                then array[r.vendor] || regexp_match(x.user_agent collate "C", '(?i)' || r.pattern)
        end
        from user_agent_rule r
        where r.prefix <= x.lower_agent
        order by r.prefix desc
        limit 1
    ) as parts
    from (select t.user_agent, lower(t.user_agent collate "C") collate "C" as lower_agent offset 0) x
    offset 0
) u
cross join lateral (
    select
        sip_uri_port(s.source, s.source_at) as network_port,
        case
            when l.socket like any (array['udp:%', 'tcp:%', 'tls:%']) then left(l.socket, 3)
            else lower(substring(l.socket from '^([a-zA-Z]+):') collate "C")
        end as socket_protocol
    from (
        select
            m.source,
            case when hostport_is_plain(m.middle) then m.middle else sip_uri_hostport(m.source) end as source_at
        from (select unfolded(l.source) as source, sip_uri_middle(l.source) as middle offset 0) m
        offset 0
    ) s
    offset 0
) p;

comment on view report_registration is 'one row for each registration (binding) that lives now; filters on account_id, device_id, network_address and ruid use an index';
comment on column report_registration.account_id is 'account whose list it is in; null: no account has its realm';
comment on column report_registration.account_name is 'name of that account; null: it has none';
comment on column report_registration.device_id is 'device, unique within its account only; null: the directory has none for this username and realm';
comment on column report_registration.device_name is 'name of the device; null: it has none, or no device';
comment on column report_registration.owner_id is 'owner of the device; null: nobody';
comment on column report_registration.owner_name is 'name of the owner; null: it has none, or nobody owns the device';
comment on column report_registration.username is 'user of the AoR, as Kamailio stored it';
comment on column report_registration.realm is 'domain of the AoR, or of the site where usrloc stores none; null: not known';
comment on column report_registration.vendor is 'maker of the phone, from user_agent; null: not known';
comment on column report_registration.model is 'model of the phone, from user_agent; null: a program, or not known';
comment on column report_registration.firmware is 'version of firmware or program, from user_agent; null: not known';
comment on column report_registration.user_agent is 'User-Agent header; null: the phone sent none';
comment on column report_registration.network_address is 'address that the REGISTER came from, else that of the Contact; null: a host name, or not known';
comment on column report_registration.network_port is 'port of that; null: not known';
comment on column report_registration.contact is 'Contact, a SIP URI as Kamailio stored it';
comment on column report_registration.contact_address is 'address in the Contact, often a private one; null: a host name, or not known';
comment on column report_registration.protocol is 'udp, tcp, tls, ws, wss or sctp; null: not known';
comment on column report_registration.server_id is 'number of the Kamailio node; null: nodes have no numbers';
comment on column report_registration.node is 'name of the node in REGISTRATIONS_KAMAILIO_NODES; null: it has none there';
comment on column report_registration.first_registered_at is 'when this registration began';
comment on column report_registration.last_registered_at is 'when it was refreshed last';
comment on column report_registration.expires_at is 'when it ends without a refresh; null: never';
comment on column report_registration.expires_in is 'how long that is from now, an interval; null: for ever';
comment on column report_registration.ruid is 'usrloc''s key of the binding, as in registrations';
comment on column report_registration.instance is '+sip.instance of the Contact, without angle brackets: the same for all registrations of one phone; null: the phone sent none';
comment on column report_registration.reg_id is 'reg-id of the Contact, which of its registrations this is; null: the phone sent none';

create view report_device as
select
    d.account_id,
    nullif(d.account_name, '') as account_name,
    d.device_id,
    nullif(d.device_name, '') as device_name,
    d.owner_id,
    nullif(d.owner_name, '') as owner_name,
    d.username,
    d.realm,
    d.enabled,
    case
        when not d.enabled
            then least(case when not a.enabled then a.disabled_at end, case when not v.enabled then v.disabled_at end)
    end as disabled_at,
    r.registrations is not null as registered,
    coalesce(r.registrations, 0) as registrations,
    r.first_registered_at,
    r.last_registered_at,
    r.expires_at
from directory d
left join account a on a.id = d.account_id
left join device v on v.id = d.device_id and v.account_id = d.account_id
left join (
    select
        l.account_id,
        l.device_id,
        count(*) as registrations,
        min(least(date_trunc('second', l.first_registered_at), to_timestamp(nullif(l.modified_epoch, 0))))
            as first_registered_at,
        max(coalesce(to_timestamp(nullif(l.modified_epoch, 0)), date_trunc('second', l.first_registered_at)))
            as last_registered_at,
        case when min(l.expires_epoch) > 0 then to_timestamp(max(l.expires_epoch)) end as expires_at
    from live_location l
    where l.device_id is not null
    group by l.account_id, l.device_id
) r on r.account_id = d.account_id and r.device_id = d.device_id;

comment on view report_device is 'one row for each username and realm of the directory, registered or not; a device with several has several rows. Filters on account_id and device_id use an index';
comment on column report_device.account_id is 'account of the device';
comment on column report_device.account_name is 'name of that account; null: it has none';
comment on column report_device.device_id is 'device, unique within its account only';
comment on column report_device.device_name is 'name of the device; null: it has none';
comment on column report_device.owner_id is 'owner of the device; null: nobody';
comment on column report_device.owner_name is 'name of the owner; null: it has none, or nobody owns the device';
comment on column report_device.username is 'what it registers as, in lower case';
comment on column report_device.realm is 'domain that it registers in';
comment on column report_device.enabled is 'whether it may register: neither it nor its account is disabled';
comment on column report_device.disabled_at is 'when it or its account was disabled, whichever came first; null: enabled, or not known, as if it came disabled with an import';
comment on column report_device.registered is 'whether it has a registration now';
comment on column report_device.registrations is 'how many it has';
comment on column report_device.first_registered_at is 'when the oldest of them began; null: not registered';
comment on column report_device.last_registered_at is 'when one of them was refreshed last; null: not registered';
comment on column report_device.expires_at is 'when the last of them ends without a refresh; null: not registered, or never';

create view report_account as
select
    a.id::text as account_id,
    nullif(a.name, '') as account_name,
    a.realm::text as realm,
    a.parent_id::text as parent_id,
    nullif(p.name, '') as parent_name,
    a.enabled,
    case when not a.enabled then a.disabled_at end as disabled_at,
    coalesce(d.devices, 0) as devices,
    coalesce(d.devices_disabled, 0) as devices_disabled,
    coalesce(d.devices_registered, 0) as devices_registered,
    coalesce(d.devices_silent, 0) as devices_silent,
    round(100.0 * (d.devices - d.devices_disabled - d.devices_silent) / nullif(d.devices - d.devices_disabled, 0), 1)
        as registered_percent,
    coalesce(r.registrations, 0) as registrations,
    coalesce(r.without_device, 0) as registrations_without_device
from account a
left join account p on p.id = a.parent_id
left join (
    select
        e.account_id,
        count(distinct e.device_id) as devices,
        count(distinct e.device_id) filter (where not e.enabled) as devices_disabled,
        count(distinct e.device_id) filter (where e.registered) as devices_registered,
        count(distinct e.device_id) filter (where e.enabled and not e.registered) as devices_silent
    from report_device e
    group by e.account_id
) d on d.account_id = a.id
left join (
    select l.account_id, count(*) as registrations, count(*) filter (where l.device_id is null) as without_device
    from live_location l
    group by l.account_id
) r on r.account_id = a.id;

comment on view report_account is 'one row for each account, with or without devices';
comment on column report_account.account_id is 'account';
comment on column report_account.account_name is 'its name; null: it has none';
comment on column report_account.realm is 'its domain';
comment on column report_account.parent_id is 'account above it; null: none';
comment on column report_account.parent_name is 'its name; null: none';
comment on column report_account.enabled is 'whether its devices may register';
comment on column report_account.disabled_at is 'when it was disabled; null: enabled, or not known';
comment on column report_account.devices is 'devices of the directory';
comment on column report_account.devices_disabled is 'devices that may not register, by themselves or with the account';
comment on column report_account.devices_registered is 'devices that have a registration, disabled ones too';
comment on column report_account.devices_silent is 'enabled devices that have none';
comment on column report_account.registered_percent is 'share of the enabled devices that are registered; null: there are none';
comment on column report_account.registrations is 'registrations in the list of the account';
comment on column report_account.registrations_without_device is 'those of them whose username no device has';

create view report_flush as
select
    f.id as flush_id,
    f.account_id,
    nullif(a.name, '') as account_name,
    f.username,
    f.cause,
    f.requested_by,
    f.requested_at,
    f.finished_at,
    f.bindings as registrations,
    f.bindings - b.pending - f.superseded as flushed,
    b.pending,
    f.superseded,
    case
        when f.finished_at is not null then 100
        when f.bindings > 0 then floor(100.0 * (f.bindings - b.pending) / f.bindings)::integer
    end as percent_done,
    n.nodes,
    n.nodes_pending,
    n.attempts,
    n.last_error
from flush f
left join account a on a.id = f.account_id
cross join lateral (
    select count(*)::integer as pending
    from flush_binding b
    where b.flush_id = f.id
        and b.shown
        and b.settled_at is null
        and not coalesce(b.server_id = any (b.confirmed), false)
) b
cross join lateral (
    select
        count(*) as nodes,
        string_agg(coalesce(nullif(k.name, ''), m.node::text), ', ' order by m.node)
            filter (where m.confirmed_at is null) as nodes_pending,
        max(m.attempts) as attempts,
        string_agg(m.last_error, '; ' order by m.node) filter (where m.confirmed_at is null) as last_error
    from flush_node m
    left join kamailio_node k on k.server_id = m.node
    where m.flush_id = f.id
) n;

comment on view report_flush is 'one row for each flush that is kept (REGISTRATIONS_SYNC_FLUSH_KEEP), with how far it has come';
comment on column report_flush.flush_id is 'flush, as in the API';
comment on column report_flush.account_id is 'account that was flushed';
comment on column report_flush.account_name is 'its name; null: it has none, or is gone';
comment on column report_flush.username is 'username, in lower case; null: the whole account, or several usernames';
comment on column report_flush.cause is 'request (API), command (shell), or what changed in the directory: disabled, deleted, moved, credentials';
comment on column report_flush.requested_by is 'account ID of the client''s token, name of the shell''s user, or worker';
comment on column report_flush.requested_at is 'when it was asked for';
comment on column report_flush.finished_at is 'when the last node confirmed the last binding; null: not yet';
comment on column report_flush.registrations is 'registrations that were listed when it was asked for';
comment on column report_flush.flushed is 'those of them that are gone from their node';
comment on column report_flush.pending is 'those of them that their node has still to confirm; the worker retries';
comment on column report_flush.superseded is 'those of them that had registered again before a retry';
comment on column report_flush.percent_done is 'share that is not pending; null: unfinished, and nothing was listed';
comment on column report_flush.nodes is 'Kamailio nodes that were asked';
comment on column report_flush.nodes_pending is 'nodes that have not confirmed, by name or number; null: none';
comment on column report_flush.attempts is 'attempts at the node that took most; null: none yet';
comment on column report_flush.last_error is 'what pending nodes said last; null: nothing';
