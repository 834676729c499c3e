-- Planning a page takes longer than reading it, so each session plans once, for any account.
select set_config('plan_cache_mode', 'force_generic_plan', true)
