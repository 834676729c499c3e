-- Rows that expired longer ago than the grace time, which every living Kamailio would have removed itself.
-- Kamailio's zone may be set wrongly here where it writes TIMESTAMP, by up to 26 hours; then its rows only seem
-- expired, so they get that much more time.
with dead as materialized (
    select id from location
    where registration_epoch(expires) > 0
        and registration_epoch(expires) < extract(epoch from now())
            - %(grace)s - case when pg_typeof(expires) = 'bigint'::regtype then 0 else 26 * 3600 end
    limit %(limit)s for update skip locked
)
delete from location l using dead where l.id = dead.id
