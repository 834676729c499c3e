select exists (select from account where id = %(account_id)s)
