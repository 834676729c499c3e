-- The leader uses its session with every job, so the last use is a sign of life. The worker's own role, superusers and
-- pg_read_all_stats can see that time.
with leader as materialized (
    select state_change from leading_session where pid is not null
)
select
    extract(epoch from now())::float8 as now_epoch,
    exists (select from leader) as leads,
    (select extract(epoch from clock_timestamp() - max(state_change))::float8 from leader) as silent_seconds,
    backlog.rows as backlog_rows,
    backlog.seconds as backlog_seconds,
    flushes.count as flushes,
    flushes.seconds as flush_seconds,
    (
        select n.last_error from flush_node n join flush f on f.id = n.flush_id
        where f.finished_at is null and n.last_error is not null
        order by n.attempted_at desc limit 1
    ) as flush_error
from (
    select count(*) as rows, extract(epoch from now() - min(first_registered_at))::float8 as seconds
    from (select first_registered_at from location where enriched_at is null limit 100000) waiting
) backlog
cross join (
    select count(*), extract(epoch from now() - min(requested_at))::float8 as seconds
    from (select requested_at from flush where finished_at is null limit 100000) unfinished
) flushes
