-- What Kamailio's auth_db may read of the directory, as DROP wants it: a view, or a table that follows devices. On a
-- database of kamdbctl it is called directory_subscriber, and subscriber is a table of Kamailio's.
select case relkind when 'v' then 'view' else 'table' end || ' ' || relname
from pg_class c
where oid = to_regclass('directory_subscriber')
    or (
        oid = to_regclass('subscriber')
        and (relkind = 'v' or exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'device_id'))
    )
