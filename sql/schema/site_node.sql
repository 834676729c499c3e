insert into kamailio_node (server_id, name, hostname) values (%(server_id)s, %(name)s, %(hostname)s)
on conflict (server_id) do update set name = excluded.name, hostname = excluded.hostname
