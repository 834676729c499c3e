-- transactional: false
-- One device and one address are found without reading location. A refresh that comes from where the last one came from
-- writes none of these and stays heap-only: it writes the same received and Contact, and PostgreSQL compares values.
-- The expressions are those of sip_uri_address, see 0030.

set lock_timeout = 0;

drop index concurrently if exists location_device_id_idx;

create index concurrently location_device_id_idx on location (device_id) where device_id is not null;

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

drop index concurrently if exists registration_source_address_idx;

create index concurrently registration_source_address_idx on registration_source ((sip_uri_address(received)));
