create index concurrently location_expires_idx on location (expires)
