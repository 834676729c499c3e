-- What is done concurrently lets REGISTERs pass while it waits, so it may wait.
select set_config('lock_timeout', '0', false)
