-- Deletes tokens that expired long ago. token_access does not accept them, but if the clock was ahead a token only seemed to
-- have expired: so they are kept for a week.
delete from auth_token
where id in (
    select id from auth_token
    where last_used_at + idle_lifetime <= now() - interval '7 days'
    order by id
    limit %(limit)s
)
