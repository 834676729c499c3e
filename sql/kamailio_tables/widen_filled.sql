-- Lets SET NOT NULL skip reading the table, which would be locked meanwhile. Not before all rows are filled: a refresh of
-- a row without id_wide would fail.
alter table {table}
    drop constraint if exists {name},
    add constraint {name} check (id_wide is not null) not valid
