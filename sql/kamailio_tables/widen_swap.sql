-- The second column takes over the sequence, name, default, indexes and privileges of id. None of this reads a row.
{own_sequence}
drop trigger {name} on {table};
drop function {name}();
alter table {table} drop column id;
alter table {table} rename column id_wide to id;
alter table {table} alter column id set not null, alter column id {value};
alter table {table} drop constraint {name};
{indexes}
{widen_sequence}
{kept}
