-- A concurrent build does not block REGISTERs while it waits, so it may wait.
select set_config('lock_timeout', '0', false)
