-- The table that Kamailio's auth_db reads of the directory. On a database of kamdbctl it is called directory_subscriber, and
-- subscriber is a table of Kamailio's.
select relname
from pg_class c
where oid = to_regclass('directory_subscriber')
    or (
        oid = to_regclass('subscriber')
        and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'device_id')
    )
