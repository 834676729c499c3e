-- Functions with their owner's rights looked tables up in the caller's temporary ones first, and in a schema named after the
-- owner: with a temporary table auth_token and a trigger on it the API's role could run anything with the rights of who
-- migrated, often a superuser. pg_temp is looked into last when it is named last.
do $$
declare
    definer regprocedure;
begin
    foreach definer in array array[
        'token_access(bytea, text)'::regprocedure,
        'token_from_api_key(bytea, bytea, interval, jsonb)'::regprocedure,
        'token_revoke(bytea)'::regprocedure
    ] loop
        execute format('alter function %s set search_path = %I, pg_temp', definer, current_schema());
    end loop;
end $$;
