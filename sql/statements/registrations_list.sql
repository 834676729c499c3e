-- The registrations of one account, newest first; the columns are those of the API's object.
select
    account_name, account_realm, authorizing_id, authorizing_type, call_id, contact, contact_ip, contact_port,
    event_timestamp, expires, first_registration, from_host, from_user, initial_registration, last_registration,
    network_ip, network_port, original_contact, owner_id, presence_id, proxy_ip, proxy_path, proxy_port,
    proxy_protocol, realm, register_overwrite_notify, registrar_hostname, registrar_node, source_ip, source_port,
    suppress_unregister_notify, to_host, to_user, user_agent, username
from registrations
where account_id = %(account_id)s
order by event_timestamp desc, ruid
