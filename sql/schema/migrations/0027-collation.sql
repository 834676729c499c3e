-- Names of SIP (usernames, domains, devices) are compared without regard to case as usrloc does it, A to Z alone, whatever the
-- server's locale: in a Turkish one lower('INFO') is ınfo, so such a device matched no phone, and its flush no binding.

create function sip_lower(name text) returns text language sql immutable parallel safe
    return lower(name collate "C");

comment on function sip_lower(text) is 'a SIP name in lower case as usrloc writes it: A to Z alone, whatever the server''s locale';

do $$
declare
    twice text;
    changed record;
begin
    -- Until now a server may have told these apart.
    select string_agg(t.names, '; ') into twice
    from (
        select format('%s@%s: devices %s', sip_lower(sip_username), realm, string_agg(id::text, ', ' order by id)) as names
        from device
        group by sip_lower(sip_username), realm
        having count(*) > 1
        limit 10
    ) t;
    if twice is not null then
        raise unique_violation using
            message = format('devices with the same SIP username and realm, %s', twice),
            detail = 'Kamailio takes them for one: delete or rename all but one, then migrate again.';
    end if;

    -- With what the function stands for, or the indexes would depend on it. Kamailio only reads subscriber, and no reader
    -- waits for the making of an index. Its old ones stay: to drop one, those who read would have to wait.
    if to_regclass('directory_of_subscriber') is not null then
        create index subscriber_sip_aor_idx on subscriber
            (lower(username collate "C") collate "default", lower(domain collate "C") collate "default");
        create index subscriber_sip_realm_idx on subscriber (lower(domain collate "C") collate "default");
        analyze subscriber;
    end if;
    create unique index device_sip_aor_idx on device (lower(sip_username collate "C") collate "default", realm);

    -- The operator may have replaced the two that are the directory: in them only what our table is asked for is changed,
    -- and the whole if it is the README's example.
    for changed in
        select v.name, c.reloptions, pg_get_viewdef(c.oid) as before, regexp_replace(
            pg_get_viewdef(c.oid),
            case
                when v.is_ours or pg_get_viewdef(c.oid) = pg_get_viewdef(to_regclass('directory_of_subscriber'))
                    then '\mlower\('
                else '\mlower\((?=(\w+\.)?sip_username\))'
            end,
            'sip_lower(',
            'g'
        ) as after
        from (
            values
                ('directory', false), ('device_credentials', false), ('directory_of_devices', true),
                ('directory_of_subscriber', true), ('location_directory', true), ('location_enrichment', true),
                ('registrations', true)
        ) v (name, is_ours)
        join pg_class c on c.oid = to_regclass(v.name)
    loop
        if changed.after <> changed.before then
            execute format(
                'create or replace view %s%s as %s',
                changed.name, ' with (' || array_to_string(changed.reloptions, ', ') || ')', changed.after
            );
        end if;
    end loop;

    execute replace(pg_get_functiondef('account_follow_domains'::regproc), 'lower(', 'sip_lower(');
end $$;

-- As in 0012 and 0026, but for the collation.
create or replace function sip_uri_hostport(uri text) returns text language sql immutable parallel safe
    return case
        when uri collate "C" ilike 'sip:%' or uri collate "C" ilike 'sips:%' then
            substring(
                substr(uri, 1 + coalesce(nullif(strpos(uri, '@'), 0), strpos(uri, ':')))
                from '^((?:\[[^]]+\]|[^]\[:;?>@]+)(?::[0-9]+)?)(?:[;?>]|$)'
            )
    end;

create or replace function sip_uri_transport(uri text) returns text language sql immutable parallel safe
    return case
        when uri like 'sip:%' and strpos(uri, '?') = 0
            and split_part(uri, ';transport=', -1) in ('udp', 'tcp', 'tls', 'ws')
            then split_part(uri, ';transport=', -1)
        when uri collate "C" ilike '%;transport=%' then
            sip_lower(substring(substr(uri, strpos(uri, '@') + 1) collate "C" from '(?i)^[^?]*;transport=([a-z-]+)'))
    end;

create or replace function sip_uri_port(uri text, hostport text) returns text language sql immutable parallel safe
    return case
        when hostport is not null then coalesce(
            hostport_port(hostport),
            case when uri collate "C" ilike 'sips:%' or sip_uri_transport(uri) = 'tls' then '5061' else '5060' end
        )
    end;

-- Readers of the directory wait from here to the commit.
drop index device_aor_idx;

alter index device_sip_aor_idx rename to device_aor_idx;
