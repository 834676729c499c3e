-- Of the same rows as the list: registrations only adds columns to live_location.
select count(*) from live_location where account_id = %(account_id)s
