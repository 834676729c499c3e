-- From now on each new row has its id in both columns. A refresh changes neither.
alter table {table} add column id_wide bigint;

create function {name}() returns trigger language plpgsql set search_path from current as $$
begin
    new.id_wide := new.id;
    return new;
end $$;

create trigger {name} before insert on {table} for each row execute function {name}();

-- also for rows that logical replication or a restore brings, which fire no other triggers
alter table {table} enable always trigger {name}
