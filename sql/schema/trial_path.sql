-- Behind the copies, where the operator's triggers look for their tables otherwise.
select set_config(
    'search_path',
    concat_ws(', ', 'registrations_trial', (select nullif(reset_val, '') from pg_settings where name = 'search_path'), 'pg_temp'),
    true
)
