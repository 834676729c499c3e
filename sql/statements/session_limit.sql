-- Compiling costs more than any statement of ours saves by it.
select set_config('statement_timeout', %(milliseconds)s, false), set_config('jit', 'off', false)
