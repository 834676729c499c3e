select
    (select count(*) from location),
    (select count(*) from location where enriched_at is null),
    (select count(*) from account),
    case when directory_is_of_subscriber() then (select count(*) from subscriber) else (select count(*) from device) end,
    (
        select format_type(atttypid, atttypmod) from pg_attribute
        where attrelid = 'location'::regclass and attname = 'expires'
    ),
    kamailio_timezone(),
    coalesce(to_regclass('directory_subscriber'), to_regclass('subscriber'))::text
