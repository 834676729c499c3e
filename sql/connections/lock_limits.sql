-- An ALTER TABLE that waits for a lock makes every SIP worker behind it wait: it must give up at once. Nor is a lock held
-- until the disk has the commit: what a crash of the server may lose within a second is lost as a whole, and done again. Rows
-- that a policy hides from the owner (FORCE ROW LEVEL SECURITY) would be left out unnoticed: PostgreSQL refuses instead.
select
    set_config('lock_timeout', '50ms', false),
    set_config('statement_timeout', '1h', false),
    set_config('synchronous_commit', 'off', false),
    set_config('client_min_messages', 'warning', false),
    set_config('row_security', 'off', false)
