-- AoRs of the devices of an account that have this username.
select d.username, d.realm from directory d
where d.account_id = %(account_id)s and d.username = lower(%(username)s)
