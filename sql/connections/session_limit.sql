-- A program that is frozen in a transaction would keep others from what it has locked, so PostgreSQL ends its session. No
-- living one of ours is idle for so long; a list waits for a slow client for less (api/spool.py).
-- Compiling costs more than any statement of ours saves by it, and so does a plan for each value that it is given: most
-- are over in less time than the planner takes.
-- The rest is how values are written and read, which server, database, role or URL may have set otherwise: psycopg reads
-- times and intervals in one form only, without array_nulls a null in an array is the text NULL. By a warning PostgreSQL tells
-- that a commit is not on its synchronous standby (sql/connections/bounded.py).
select
    set_config('statement_timeout', %(milliseconds)s, false),
    set_config('idle_in_transaction_session_timeout', '30s', false),
    set_config('jit', 'off', false),
    set_config('plan_cache_mode', 'force_generic_plan', false),
    set_config('client_min_messages', 'notice', false),
    set_config('client_encoding', 'UTF8', false),
    set_config('datestyle', 'ISO', false),
    set_config('intervalstyle', 'postgres', false),
    set_config('extra_float_digits', '1', false),
    set_config('bytea_output', 'hex', false),
    set_config('array_nulls', 'on', false),
    set_config('standard_conforming_strings', 'on', false),
    set_config('quote_all_identifiers', 'off', false)
