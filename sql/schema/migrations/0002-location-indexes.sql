-- Indexes of usrloc's tables, built concurrently, because a proxy may be writing to the tables.
-- Each index of ours is dropped first: a build that was interrupted leaves an invalid index of that name behind.
-- A refresh must stay a heap-only (HOT) update, so nothing that a refresh changes may be indexed. That is why usrloc's own
-- index on expires goes. The few statements of usrloc that filter on expires read the table instead.
-- Locks no table of Kamailio's: the indexes are built beside the running proxy, as long as that takes.
-- Runs outside a transaction, statement by statement.

drop index concurrently if exists location_expires_idx;

-- usrloc's own, where they are missing.
create index concurrently if not exists location_account_contact_idx on location (username, domain, contact);

create index concurrently if not exists location_connection_idx on location (server_id, connection_id);

create index concurrently if not exists location_tcpcon_idx on location (connection_id);

create index concurrently if not exists location_attrs_account_record_idx on location_attrs (username, domain, ruid);

create index concurrently if not exists location_attrs_last_modified_idx on location_attrs (last_modified);

-- With id, the order of lists: a page of an account is read from where it begins.
drop index concurrently if exists location_account_id_idx;

create index concurrently location_account_id_idx on location (account_id, id) where account_id is not null;

drop index concurrently if exists location_device_id_idx;

create index concurrently location_device_id_idx on location (device_id) where device_id is not null;

drop index concurrently if exists location_not_enriched_idx;

create index concurrently location_not_enriched_idx on location (id) where enriched_at is null;

-- Rows of a domain that is no account, of which account_follow_domains makes accounts. There are hardly any. The column
-- domain is not in it: `registrations-db widen` changes its type, and PostgreSQL would then build the index again.
drop index concurrently if exists location_without_account_idx;

create index concurrently location_without_account_idx on location (id) where enriched_at is not null and account_id is null;

-- The address in `received`, and in `contact` where there is none: what sip_uri_address (0003) makes of them. It is written
-- out here, since a REGISTER must need no function of ours: Kamailio's role may lack EXECUTE on it, and its search_path may
-- not lead to it. PostgreSQL inlines the function in a query and then finds the same expression here. So the three texts
-- change together. A refresh that comes from the same address writes neither index and stays heap-only.
drop index concurrently if exists location_received_address_idx;

create index concurrently location_received_address_idx on location ((
    case
        when received !~ '^[Ss][Ii][Pp][Ss]?:' then null
        when substr(received, 1 + coalesce(nullif(strpos(received, '@'), 0), strpos(received, ':')))
            ~ '^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}'
              '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?::[0-9]+)?(?:[;?>]|$)'
            then substring(substr(received, 1 + coalesce(nullif(strpos(received, '@'), 0), strpos(received, ':'))) from '^[0-9.]+')::inet
        when substr(received, 1 + coalesce(nullif(strpos(received, '@'), 0), strpos(received, ':'))) like '[%'
            and substr(received, 1 + coalesce(nullif(strpos(received, '@'), 0), strpos(received, ':')))
            ~ '^[[](?:'
              '(?:[0-9A-Fa-f]{1,4}:){7}(?:[0-9A-Fa-f]{1,4}|:)|:(?::[0-9A-Fa-f]{1,4}){7}'
              '|(?=(?:[^]:%]*:){2,7}[^]:%]*[]%])'
              '(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?'
              '|(?:[0-9A-Fa-f]{1,4}:){6}(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}'
              '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
              '|(?=(?:[^]:%]*:){2,6}[^]:%]*[]%])'
              '(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}:)*'
              '(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}'
              '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
              ')(?:%[^]]*)?[]](?::[0-9]+)?(?:[;?>]|$)'
            then substring(substr(received, 1 + coalesce(nullif(strpos(received, '@'), 0), strpos(received, ':'))) from '[0-9A-Fa-f:.]+')::inet
    end
)) where received <> '';

drop index concurrently if exists location_contact_address_idx;

create index concurrently location_contact_address_idx on location ((
    case
        when contact !~ '^[Ss][Ii][Pp][Ss]?:' then null
        when substr(contact, 1 + coalesce(nullif(strpos(contact, '@'), 0), strpos(contact, ':')))
            ~ '^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}'
              '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?::[0-9]+)?(?:[;?>]|$)'
            then substring(substr(contact, 1 + coalesce(nullif(strpos(contact, '@'), 0), strpos(contact, ':'))) from '^[0-9.]+')::inet
        when substr(contact, 1 + coalesce(nullif(strpos(contact, '@'), 0), strpos(contact, ':'))) like '[%'
            and substr(contact, 1 + coalesce(nullif(strpos(contact, '@'), 0), strpos(contact, ':')))
            ~ '^[[](?:'
              '(?:[0-9A-Fa-f]{1,4}:){7}(?:[0-9A-Fa-f]{1,4}|:)|:(?::[0-9A-Fa-f]{1,4}){7}'
              '|(?=(?:[^]:%]*:){2,7}[^]:%]*[]%])'
              '(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?'
              '|(?:[0-9A-Fa-f]{1,4}:){6}(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}'
              '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
              '|(?=(?:[^]:%]*:){2,6}[^]:%]*[]%])'
              '(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}:)*'
              '(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}'
              '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
              ')(?:%[^]]*)?[]](?::[0-9]+)?(?:[;?>]|$)'
            then substring(substr(contact, 1 + coalesce(nullif(strpos(contact, '@'), 0), strpos(contact, ':'))) from '[0-9A-Fa-f:.]+')::inet
    end
)) where coalesce(received, '') = '';

-- Room in every page for the next version of its rows, and a vacuum before the dead ones pile up.
alter table location set (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05);
