-- Columns of Kamailio's tables with a collation that our views cannot have, before the first migration or, if adopted, at any
-- time. A nondeterministic collation has no pattern matching. Those of subscriber become columns of the view directory, which
-- has the collation of the database.
select a.attrelid::regclass::text || '.' || a.attname
from pg_attribute a
join pg_collation c on c.oid = a.attcollation
where (to_regclass('device') is null or %(adopted)s)
    and a.attnum > 0 and not a.attisdropped
    and (
        (a.attrelid in (to_regclass('location'), to_regclass('location_attrs')) and not c.collisdeterministic)
        or (
            not %(adopted)s and a.attrelid = to_regclass('subscriber') and a.attname in ('username', 'domain')
            and c.oid <> 'pg_catalog.default'::regcollation
        )
    )
order by 1
