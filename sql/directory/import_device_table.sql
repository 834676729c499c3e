create temporary table import_device (
    id text not null,
    account_id text not null,
    owner_id text,
    name text,
    sip_username text not null,
    sip_realm text,
    enabled boolean,
    presence_id text,
    suppress_unregister_notify boolean,
    register_overwrite_notify boolean,
    ha1 text,
    at integer not null
) on commit drop
