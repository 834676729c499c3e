select
    t.id, t.account_id::text, a.name as account_name, t.note, t.last_used_at, t.idle_lifetime,
    t.restrictions, t.idle_lifetime is null or t.last_used_at + t.idle_lifetime > now() as alive
from auth_token t
join account a on a.id = t.account_id
order by t.id
