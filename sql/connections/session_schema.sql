-- What changes the schema looks into no other: neither into that of another role, nor into temporary tables first.
-- Functions are made with this path (`set search_path from current`).
select set_config('search_path', format('%I, pg_temp', current_schema()), false) where current_schema() is not null
