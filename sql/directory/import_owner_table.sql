create temporary table import_owner (
    id text not null,
    account_id text not null,
    name text,
    at integer not null
) on commit drop
