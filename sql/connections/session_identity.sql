-- The process ID alone does not tell two servers apart. The time as a number, since each connection may have a DateStyle.
-- Both statements are one transaction: a hot standby answers nothing where transactions are serializable by default.
set transaction isolation level read committed;
select pid, extract(epoch from backend_start) from pg_stat_activity where pid = pg_backend_pid()
