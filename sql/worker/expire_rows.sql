-- Deletes rows that expired before the grace time; a running Kamailio would have removed them. If Kamailio writes
-- TIMESTAMP columns, its time zone may be set wrongly by up to 26 hours, so that rows only seem expired: they are kept for
-- that much longer.
with dead as materialized (
    select id from location
    where registration_epoch(expires) > 0
        and registration_epoch(expires) < extract(epoch from now())
            - %(grace)s - case when pg_typeof(expires) = 'bigint'::regtype then 0 else 26 * 3600 end
    limit %(limit)s for update skip locked
)
delete from location l using dead where l.id = dead.id
