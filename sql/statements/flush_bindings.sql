-- The bindings of an account, or of one username of it, that a flush is to remove.
select l.ruid, l.username, l.realm as domain, l.modified_epoch
from live_location l
where l.account_id = %(account_id)s
    and (%(username)s::text is null or lower(l.username) = lower(%(username)s))
