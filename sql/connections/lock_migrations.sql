-- One migration at a time; the lock goes with the connection, however that ends. Tried, not waited for: a statement
-- that waits has a snapshot, for whose end CREATE INDEX CONCURRENTLY would wait in turn.
select pg_try_advisory_lock(key), key
from hashtextextended('kamailio-registrations migrate ' || current_database(), 0) key
