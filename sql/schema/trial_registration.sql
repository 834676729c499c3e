-- A row as usrloc writes it: an operator's trigger or constraint may leave out one without a name.
insert into location (id, ruid, username, domain, contact, callid, user_agent, socket)
overriding system value values (
    -1, 'registrations', 'registrations', 'registrations.invalid', 'sip:registrations@registrations.invalid',
    'registrations', 'registrations', 'udp:127.0.0.1:5060'
)
returning ctid::text
