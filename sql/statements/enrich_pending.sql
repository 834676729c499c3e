-- Rows that a Kamailio statement holds at this moment are left for the next run: it must never wait, nor must we.
-- Who registered before the device was disabled or got another password looks as if it had been enriched by then: the
-- comparison with the directory then finds the change.
with pending as materialized (
    select id from location where enriched_at is null order by id limit %(limit)s for update skip locked
)
update location l set
    account_id = e.account_id,
    device_id = e.device_id,
    owner_id = e.owner_id,
    device_state = case
        when registration_epoch(l.last_modified)
            <= extract(epoch from greatest(e.credentials_changed_at, e.disabled_at))
            then 'enabled before'
        else e.device_state
    end,
    enriched_at = now(),
    first_registered_at = coalesce(
        l.first_registered_at, to_timestamp(nullif(registration_epoch(l.last_modified), 0)), now()
    )
from pending
join location_enrichment e on e.id = pending.id
where l.id = pending.id
