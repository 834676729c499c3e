create or replace function kamailio_timezone() returns text language sql immutable parallel safe
    return {value}::text
