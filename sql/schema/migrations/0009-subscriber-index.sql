-- transactional: false
-- Kamailio asks for a phone's password by its username as it is written, at each REGISTER: the index of AoRs in lower case
-- is of no use there, and without this one each REGISTER read the whole directory.

set lock_timeout = 0;

drop index concurrently if exists device_subscriber_idx;

create index concurrently device_subscriber_idx on device (sip_username, realm);
