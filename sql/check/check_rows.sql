-- A slice of the table, so that no statement lasts.
select
    max(l.id)::bigint as last,
    count(*) as rows,
    count(*) filter (where l.lives) as live,
    count(*) filter (where l.lives and l.enriched and l.account_id is null and l.domain is null) as without_realm,
    count(*) filter (where l.lives and l.enriched and l.account_id is null and l.domain is not null) as without_account,
    count(*) filter (where l.lives and l.enriched and l.account_id is not null and l.device_id is null) as without_device,
    max(l.modified_epoch) - extract(epoch from now())::float8 as ahead_seconds,
    min(l.first_epoch - l.modified_epoch)
        filter (where l.modified_epoch > 0 and l.first_epoch > extract(epoch from now()) - 900) as behind_seconds,
    extract(epoch from now())::float8 - max(l.expires_epoch) filter (where l.expires_epoch > 0) as overdue_seconds
from (
    select
        id, account_id, device_id,
        nullif(domain, '') as domain,
        enriched_at is not null as enriched,
        registration_lives(registration_epoch(expires)) as lives,
        registration_epoch(expires) as expires_epoch,
        registration_epoch(last_modified) as modified_epoch,
        extract(epoch from first_registered_at)::float8 as first_epoch
    from location
    where id > %(after)s
    order by id
    limit %(limit)s
) l
