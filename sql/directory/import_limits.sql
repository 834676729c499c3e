-- For this transaction alone: the daemons' limit is far too short for a million devices.
select
    set_config('statement_timeout', '1h', true),
    set_config('lock_timeout', %(lock_timeout)s, true),
    set_config('work_mem', '128MB', true),
    set_config('client_min_messages', 'warning', true)
