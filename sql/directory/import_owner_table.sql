create temporary table import_owner (
    id text not null,
    account_id text not null,
    name text,
    id_at bigint not null,
    account_id_at bigint not null
) on commit drop
