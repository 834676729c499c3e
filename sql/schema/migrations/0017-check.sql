-- What `registrations-sync check` needs.

grant select (realm) on account to registrations_sync;

-- How much of its range the column id has used.
grant select on sequence location_id_seq, location_attrs_id_seq to registrations_sync;
