-- One migration at a time; the lock goes with the connection, however that ends. Tried, not waited for: a statement
-- that waits has a snapshot, for whose end CREATE INDEX CONCURRENTLY would wait in turn.
-- Any login can take this lock, so it is told who has it.
with lock as materialized (
    select pg_try_advisory_lock(key) as is_ours, key
    from hashtextextended('kamailio-registrations migrate ' || current_database(), 0) key
)
select
    lock.is_ours,
    (
        select string_agg(a.usename || ', process ' || a.pid, ' and ')
        from pg_locks l
        join pg_stat_activity a on a.pid = l.pid
        where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
            and l.database = (select oid from pg_database where datname = current_database())
            and (l.classid::bigint << 32) | l.objid::bigint = lock.key
    )
from lock
