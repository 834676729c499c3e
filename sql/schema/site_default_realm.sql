create or replace function kamailio_default_realm() returns text language sql immutable parallel safe
    return {value}::text
