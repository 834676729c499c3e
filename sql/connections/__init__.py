"""Sessions of PostgreSQL: connecting, the pool, limits, poolers, read-only servers, waits for locks."""
