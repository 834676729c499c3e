update flush set bindings = %(bindings)s where id = %(flush_id)s
