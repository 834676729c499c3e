-- The bindings of an account, or of one username of it, that a flush is to remove. Those that are hidden already, too:
-- a Kamailio that was restarted has them in memory again. What a node may hold beyond its row, since db_mode 2 writes
-- late, was granted as long a life as the row says.
insert into flush_binding
    (flush_id, ruid, username, domain, server_id, modified_epoch, cseq, expires_epoch, shown, due_at)
select
    %(flush_id)s,
    l.ruid,
    registration_text(l.username),
    nullif(l.domain, ''),
    l.server_id,
    registration_epoch(l.last_modified),
    l.cseq,
    nullif(registration_epoch(l.expires), 0)
        + case registration_epoch(l.last_modified)
            when 0 then 0
            else floor(extract(epoch from now()))::bigint - registration_epoch(l.last_modified)
        end,
    registration_shows(
        registration_epoch(l.expires), registration_epoch(l.last_modified), l.cseq, l.flushed_epoch, l.flushed_cseq
    ),
    now() + make_interval(secs => %(lease)s)
from (
    select id from location where account_id = %(account_id)s and enriched_at is not null
    union all
    select e.id
    from location_directory e
    join location n on n.id = e.id
    where n.enriched_at is null and e.account_id = %(account_id)s
) of_account
join location l on l.id = of_account.id
where registration_lives(registration_epoch(l.expires))
    and (%(username)s::text is null or lower(registration_text(l.username)) = lower(%(username)s))
returning
    id, ruid, username, domain, server_id, modified_epoch, cseq, shown, confirmed,
    floor(extract(epoch from now()))::bigint as requested_epoch
