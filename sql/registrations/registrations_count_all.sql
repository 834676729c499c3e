-- Of every account, and of none: a system's count is of bindings, not of accounts.
select count(*) from live_location
