-- For this transaction only. The daemons' statement timeout is too short for a million devices.
select
    set_config('statement_timeout', '1h', true),
    set_config('lock_timeout', %(lock_timeout)s, true),
    set_config('work_mem', '128MB', true),
    set_config('client_min_messages', 'warning', true)
