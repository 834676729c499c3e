-- For a restricted token. Others have the count with the check of the token: see access_check.sql.
select registrations_count(%(account_id)s)
