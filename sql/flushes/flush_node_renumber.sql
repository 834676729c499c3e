-- A node without a number in the settings is 0 until it tells its server_id. Its records then get that number.
update flush_node n set node = %(node)s
where n.flush_id = any (%(flush_ids)s)
    and n.node = 0
    and 0 <> all (%(nodes)s)
    and not exists (select from flush_node o where o.flush_id = n.flush_id and o.node = %(node)s)
