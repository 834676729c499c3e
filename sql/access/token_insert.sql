insert into auth_token (token_hash, account_id, note, idle_lifetime, restrictions)
values (%(token_hash)s, %(account_id)s, %(note)s, %(idle_lifetime)s, %(restrictions)s)
returning id
