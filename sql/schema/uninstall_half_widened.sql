-- Tables of which `registrations-db widen id` was interrupted.
select attrelid::regclass::text from pg_attribute
where attrelid in (to_regclass('location'), to_regclass('location_attrs')) and attname = 'id_wide'
