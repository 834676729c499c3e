-- The registrations in a slice of the table, by account, node and transport, as the view registrations has them. Returns
-- the last id even if no row of the slice shows.
select s.last::bigint, c.account_id, c.server_id, c.transport, coalesce(c.count, 0)
from (
    select max(id) as last from (select id from location where id > %(after)s order by id limit %(limit)s) slice
) s
left join lateral (
    select
        l.account_id,
        l.server_id,
        registration_protocol(
            case
                when l.socket like any (array['udp:%%', 'tcp:%%', 'tls:%%']) then left(l.socket, 3)
                else sip_lower(substring(l.socket from '^([a-zA-Z]+):'))
            end,
            coalesce(nullif(l.received, ''), f.received), l.contact, l.path
        ) as transport,
        count(*)
    from location l
    left join lateral (
        select s.received
        from registration_source s
        where s.ruid = l.ruid and coalesce(l.received, '') = '' and (select exists (select from registration_source))
        offset 0
    ) f on true
    where l.id > %(after)s
        and l.id <= s.last
        and registration_shows(
            registration_epoch(l.expires), registration_epoch(l.last_modified), l.cseq, l.callid, l.flushed_epoch,
            l.flushed_cseq, l.flushed_callid
        )
    group by 1, 2, 3
) c on true
