-- Tokens that died of disuse. None comes back to life: its use is noted only while it lives (token_access).
delete from auth_token
where id in (
    select id from auth_token where last_used_at + idle_lifetime <= now() order by id limit %(limit)s
)
