select id, request_id from flush where id = any (%(flush_ids)s)
