-- Tokens that died of disuse long ago. None is used again, as its use is noted only while it lives (token_access), unless
-- the clock was ahead when it seemed to have died: for that it is kept for a week.
delete from auth_token
where id in (
    select id from auth_token
    where last_used_at + idle_lifetime <= now() - interval '7 days'
    order by id
    limit %(limit)s
)
