-- Reads a slice of the table, so that no statement takes long. A row is kept for an hour: in db_mode 2 it is written before
-- usrloc writes the binding's row. A row from the future was written before the clock was set back.
with slice as materialized (
    select f.ruid from registration_source f where f.ruid > %(after)s order by f.ruid limit %(limit)s
),
gone as (
    delete from registration_source f using slice s
    where f.ruid = s.ruid
        and f.updated_at not between now() - interval '1 hour' and now() + interval '1 hour'
        and not exists (select from location l where l.ruid = f.ruid)
    returning 1
)
select (select max(ruid) from slice), (select count(*) from gone)
