-- A row as usrloc writes it. It has every name: an operator's trigger or constraint may skip rows without one.
insert into location (id, ruid, username, domain, contact, callid, user_agent, socket)
overriding system value values (
    -1, 'registrations', 'registrations', 'registrations.invalid', 'sip:registrations@registrations.invalid',
    'registrations', 'registrations', 'udp:127.0.0.1:5060'
)
returning ctid::text
