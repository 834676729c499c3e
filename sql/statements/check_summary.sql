select
    (select count(*) from location),
    (select count(*) from location where enriched_at is null),
    (select count(*) from account),
    (select count(*) from device),
    (
        select format_type(atttypid, atttypmod) from pg_attribute
        where attrelid = 'location'::regclass and attname = 'expires'
    ),
    kamailio_timezone(),
    coalesce(to_regclass('directory_subscriber'), to_regclass('subscriber'))::text
