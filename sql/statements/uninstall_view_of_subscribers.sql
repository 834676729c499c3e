-- The view that Kamailio's auth_db may read; on a database of kamdbctl subscriber is a table of Kamailio's.
select relname::text
from pg_class
where oid in (to_regclass('subscriber'), to_regclass('directory_subscriber')) and relkind = 'v'
