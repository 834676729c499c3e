-- Is a transaction open that has counted a change? It holds a lock on the sequence until it ends.
select exists (
    select
    from pg_locks
    where locktype = 'relation'
        and relation = 'directory_change'::regclass
        and mode = 'RowExclusiveLock'
        and database = (select oid from pg_database where datname = current_database())
)
