-- All bindings, also those without an account.
select count(*) from live_location
