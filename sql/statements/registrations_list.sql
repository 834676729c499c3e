-- The registrations of one account in the order in which the bindings came to be, which no refresh changes: pages
-- join although phones refresh between them. The columns are those of the API's object.
select
    id as position, account_name, account_realm, authorizing_id, authorizing_type, call_id, contact, contact_ip, contact_port,
    event_timestamp, expires, first_registration, from_host, from_user, initial_registration, last_registration,
    network_ip, network_port, original_contact, owner_id, presence_id, proxy_ip, proxy_path, proxy_port,
    proxy_protocol, realm, register_overwrite_notify, registrar_hostname, registrar_node, source_ip, source_port,
    suppress_unregister_notify, to_host, to_user, user_agent, username
from registrations
where account_id = %(account_id)s
    and {conditions}
order by id {direction}
limit %(limit)s::bigint
