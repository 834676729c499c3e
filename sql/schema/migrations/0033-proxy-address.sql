-- proxy_ip is the node's host where Kamailio listens on 0.0.0.0 or [::]: usrloc stores that address as the socket, also
-- with `advertise`.
do $$
declare
    before constant text := pg_get_viewdef('registrations'::regclass);
    after constant text := regexp_replace(
        before,
        '(\w+\.)?hostport_host\(u\.socket_at\)(?=[^,]*, [^,]* AS proxy_ip)',
        'case when u.socket_at like any (array[''0.0.0.0:%'', ''[::]:%'']) then n.hostname else \& end'
    );
begin
    if after = before then
        raise exception 'the view registrations has no proxy_ip as expected';
    end if;
    execute 'create or replace view registrations as ' || after;
end $$;
