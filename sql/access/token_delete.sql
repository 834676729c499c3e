delete from auth_token where id = %(id)s
