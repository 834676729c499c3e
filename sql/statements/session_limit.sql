-- A program that is frozen in a transaction would keep others from what it has locked, so PostgreSQL ends its session. No
-- living one of ours is idle for so long; a list waits for a slow client for less (api/spool.py).
-- Compiling costs more than any statement of ours saves by it, and so does a plan for each value that it is given: most
-- are over in less time than the planner takes.
select
    set_config('statement_timeout', %(milliseconds)s, false),
    set_config('idle_in_transaction_session_timeout', '30s', false),
    set_config('jit', 'off', false),
    set_config('plan_cache_mode', 'force_generic_plan', false)
