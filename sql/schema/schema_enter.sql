-- A schema change uses no other schema: neither that of another role nor temporary tables first. Functions get this path
-- by `set search_path from current`.
select set_config('search_path', format('%I, pg_temp', current_schema()), false) where current_schema() is not null
