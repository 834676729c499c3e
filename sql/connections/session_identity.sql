-- Two servers may have the same process ID, so the start time belongs to it: as a number, since connections may differ in
-- DateStyle. Both statements are one transaction: a hot standby refuses serializable ones, which may be the default.
set transaction isolation level read committed;
select pid, extract(epoch from backend_start) from pg_stat_activity where pid = pg_backend_pid()
