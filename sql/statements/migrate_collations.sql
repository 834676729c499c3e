-- Before the first migration: columns of Kamailio's tables whose collation the views cannot have. A nondeterministic one
-- knows no patterns; subscriber's become columns of the view directory, which has the database's own.
select a.attrelid::regclass::text || '.' || a.attname
from pg_attribute a
join pg_collation c on c.oid = a.attcollation
where to_regclass('device') is null
    and a.attnum > 0 and not a.attisdropped
    and (
        (a.attrelid in (to_regclass('location'), to_regclass('location_attrs')) and not c.collisdeterministic)
        or (
            a.attrelid = to_regclass('subscriber') and a.attname in ('username', 'domain')
            and c.oid <> 'pg_catalog.default'::regcollation
        )
    )
order by 1
