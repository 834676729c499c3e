-- An ALTER TABLE that waits for a lock makes every SIP worker behind it wait: it must give up at once.
select
    set_config('lock_timeout', '50ms', false),
    set_config('statement_timeout', '1h', false),
    set_config('client_min_messages', 'warning', false)
