-- One import at a time; the lock goes with the transaction.
select pg_advisory_xact_lock(hashtextextended('kamailio-registrations import ' || current_database(), 0))
