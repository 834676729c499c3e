select pg_try_advisory_lock(hashtextextended('kamailio-registrations sync ' || current_database(), 0))
