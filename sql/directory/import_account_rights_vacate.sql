-- An account that gives up its API key loses it first, so that another account can take it.
update account a set api_key_hash = null
from account b
left join account_after t on t.id = b.id::text
where b.id = a.id and b.api_key_hash is not null and (t.id is null or t.gives_api_key)
