-- Making the plan of a page takes longer than reading it: it is made once a session, for any account.
select set_config('plan_cache_mode', 'force_generic_plan', true)
