select distinct application_name
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and application_name ~ '^registrations-(api|sync)'
order by 1
