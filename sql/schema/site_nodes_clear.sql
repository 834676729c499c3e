delete from kamailio_node where server_id <> all(%(server_ids)s::integer[])
