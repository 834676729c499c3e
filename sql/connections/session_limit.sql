-- A program that freezes in a transaction would block others by its locks, so PostgreSQL ends its session. No running
-- program of ours is idle in a transaction for 30 s; a list waits less for a slow client (api/spool.py).
-- JIT costs more than any of our statements gains by it, and so does a plan for each value: most statements take less time
-- than the planner.
-- The rest sets how values are written and read. Server, database, role or URL may have other values, but psycopg reads
-- only one format of times and intervals, and without array_nulls a null in an array becomes the text NULL. PostgreSQL warns
-- by a notice if a commit is not on its synchronous standby (sql/connections/bounded.py).
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
