select term, pid is not null as lives, pid is not distinct from pg_backend_pid() as is_us, state_change::text as heard
from leading_session
