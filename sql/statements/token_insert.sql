insert into auth_token (token_hash, account_id, note, idle_lifetime)
values (%(token_hash)s, %(account_id)s, %(note)s, %(idle_lifetime)s)
returning id
