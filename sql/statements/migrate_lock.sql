-- One migration at a time; the lock goes with the connection, however that ends.
select
    set_config('statement_timeout', '1h', false),
    set_config('client_min_messages', 'warning', false),
    pg_advisory_lock(hashtextextended('kamailio-registrations migrate ' || current_database(), 0))
