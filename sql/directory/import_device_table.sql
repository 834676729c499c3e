create temporary table import_device (
    id text not null,
    account_id text not null,
    owner_id text,
    name text,
    sip_username text not null,
    sip_realm text,
    ha1 text,
    enabled boolean,
    presence_id text,
    suppress_unregister_notify boolean,
    register_overwrite_notify boolean,
    id_at bigint not null,
    account_id_at bigint not null,
    owner_id_at bigint,
    sip_username_at bigint not null,
    sip_realm_at bigint
) on commit drop
