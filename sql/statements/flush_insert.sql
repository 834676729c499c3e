insert into flush (account_id, username, cause, requested_by, request_id)
values (%(account_id)s, sip_lower(%(username)s), %(cause)s, %(requested_by)s, %(request_id)s)
returning id
