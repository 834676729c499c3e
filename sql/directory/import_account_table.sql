-- The rows as the file has them. Null: the file does not have the field; empty text: none. `at` is the number of the row.
create temporary table import_account (
    id text not null,
    parent_id text,
    name text not null,
    realm text not null,
    enabled boolean,
    superduper_admin boolean,
    api_key_hash bytea,
    at integer not null
) on commit drop
