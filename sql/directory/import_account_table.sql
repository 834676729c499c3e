-- The file as it is: null is what it does not say, '' is none; *_at are lines and columns.
create temporary table import_account (
    id text not null,
    parent_id text,
    name text not null,
    realm text not null,
    enabled boolean,
    superduper_admin boolean,
    api_key_hash bytea,
    id_at bigint not null,
    parent_id_at bigint,
    realm_at bigint not null,
    superduper_admin_at bigint,
    api_key_at bigint
) on commit drop
