-- transactional: false
-- Built concurrently: a proxy may be writing to the table. Each is dropped first, since a build that was
-- interrupted leaves an invalid index of that name behind.
-- A refresh must stay a heap-only (HOT) update, so nothing that a refresh changes may be indexed: usrloc's own
-- index on expires goes. The few statements of usrloc that filter on expires read the table instead.

set lock_timeout = 0;

drop index concurrently if exists location_expires_idx;

drop index concurrently if exists location_account_id_idx;

-- With id, the order of lists: a page of an account is read from where it begins.
create index concurrently location_account_id_idx on location (account_id, id) where account_id is not null;

drop index concurrently if exists location_not_enriched_idx;

create index concurrently location_not_enriched_idx on location (id) where enriched_at is null;

create index concurrently if not exists location_account_contact_idx on location (username, domain, contact);

create index concurrently if not exists location_connection_idx on location (server_id, connection_id);

create index concurrently if not exists location_tcpcon_idx on location (connection_id);

create index concurrently if not exists location_attrs_account_record_idx
    on location_attrs (username, domain, ruid);

create index concurrently if not exists location_attrs_last_modified_idx on location_attrs (last_modified);

-- Room in every page for the next version of its rows, and a vacuum before the dead ones pile up.
alter table location set (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05);
