-- Skips rows that a statement of Kamailio has locked: neither waits for the other.
-- A binding from before its device was disabled or got another password is marked as if it had been enriched by then. The
-- comparison with the directory then finds the change.
-- The ids are an array because the planner assumes that it is short; for a limit of a tenth of the table it would read the
-- whole table. The directory is read in a CTE of its own: joined to the view, each row of the batch was compared with each.
-- The commit does not wait for the disk: what a crash loses is enriched again.
with batch as materialized (
    select
        set_config('synchronous_commit', 'off', true),
        array(
            select id from location
            where enriched_at is null and id > %(after)s
            order by id
            limit %(limit)s
            for update skip locked
        ) as ids
),
found as materialized (
    select e.id, e.account_id, e.device_id, e.owner_id, e.device_state, e.credentials_changed_at, e.disabled_at
    from location_enrichment e
    where e.id = any ((select ids from batch)::bigint[])
)
update location l set
    account_id = e.account_id,
    device_id = e.device_id,
    owner_id = e.owner_id,
    device_state = case
        when registered_before(registration_epoch(l.last_modified), greatest(e.credentials_changed_at, e.disabled_at))
            then 'enabled before'
        else e.device_state
    end,
    enriched_at = now(),
    first_registered_at = coalesce(
        l.first_registered_at, to_timestamp(nullif(registration_epoch(l.last_modified), 0)), now()
    )
from found e
where e.id = l.id
returning l.id::bigint
