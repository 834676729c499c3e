-- A promise is on the disk before the client gets its answer, even if synchronous_commit is off.
insert into flush (account_id, username, cause, requested_by, request_id)
values (%(account_id)s, sip_lower(%(username)s), %(cause)s, %(requested_by)s, %(request_id)s)
returning id, case current_setting('synchronous_commit') when 'off' then set_config('synchronous_commit', 'on', true) end
