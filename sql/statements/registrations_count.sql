-- Of the same rows as the list: registrations only adds columns to live_location, which the function counts.
select registrations_count(%(account_id)s)
