-- The bindings of an account, or of one username of it, that a flush is to remove. Those that are hidden already, too:
-- a Kamailio that was restarted has them in memory again.
select
    l.ruid,
    registration_text(l.username) as username,
    nullif(l.domain, '') as domain,
    registration_epoch(l.last_modified) as modified_epoch,
    registration_shows(registration_epoch(l.expires), registration_epoch(l.last_modified), l.flushed_at) as visible
from (
    select id from location where account_id = %(account_id)s and enriched_at is not null
    union all
    select e.id
    from location_directory e
    join location n on n.id = e.id
    where n.enriched_at is null and e.account_id = %(account_id)s
) of_account
join location l on l.id = of_account.id
where registration_shows(registration_epoch(l.expires), registration_epoch(l.last_modified), null)
    and (%(username)s::text is null or lower(registration_text(l.username)) = lower(%(username)s))
