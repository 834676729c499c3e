-- The directory: who may register, and to whom a registration belongs.
-- Everything but the import reads it through the view `directory`; an operator with tables of his own replaces that.

create domain identifier as text
    constraint identifier_check check (length(value) between 1 and 64 and value !~ '[[:cntrl:]/]');

create domain realm as text
    constraint realm_check check (
        value ~ '^[\u0021-\u003f\u0041-\u007e]{1,253}$' and value = lower(value)
    );

create table account (
    id identifier primary key,
    parent_id identifier references account (id) deferrable initially deferred,
    name text not null,
    realm realm not null,
    enabled boolean not null default true,
    superduper_admin boolean not null default false,
    api_key_hash bytea,
    constraint account_realm_key unique (realm),
    constraint account_id_realm_key unique (id, realm),
    constraint account_api_key_hash_key unique (api_key_hash),
    constraint account_api_key_hash_check check (length(api_key_hash) = 32)
);

create index account_parent_id_idx on account (parent_id);

comment on column account.api_key_hash is 'SHA-256 of the account''s API key; the key itself is not kept';

create table owner (
    id identifier primary key,
    account_id identifier not null references account (id),
    name text not null default '',
    constraint owner_id_account_id_key unique (id, account_id)
);

create index owner_account_id_idx on owner (account_id);

create table device (
    id identifier primary key,
    account_id identifier not null,
    owner_id identifier,
    name text not null default '',
    sip_username text not null,
    sip_realm realm,
    account_realm realm not null,
    realm text not null generated always as (coalesce(sip_realm, account_realm)) stored,
    ha1 text,
    enabled boolean not null default true,
    presence_id text,
    suppress_unregister_notify boolean not null default true,
    register_overwrite_notify boolean not null default false,
    constraint device_account_fkey foreign key (account_id, account_realm)
        references account (id, realm) on update cascade,
    constraint device_owner_fkey foreign key (owner_id, account_id) references owner (id, account_id),
    constraint device_sip_username_check check (
        sip_username ~ '^[\u0020-\u007e]{1,64}$'
    ),
    constraint device_ha1_check check (ha1 ~ '^[0-9a-f]{32}$')
);

create unique index device_aor_idx on device (lower(sip_username), realm);

create index device_account_id_idx on device (account_id);

create index device_owner_id_idx on device (owner_id);

create index device_sip_realm_idx on device (sip_realm) where sip_realm is not null;

comment on column device.account_realm is 'the account''s realm, filled in and kept equal to it';
comment on column device.realm is 'realm of the AoR: sip_realm, or else the account''s';
comment on column device.ha1 is 'MD5(sip_username:realm:password), RFC 2617';

-- A cascade of a foreign key runs triggers with the rights of the table's owner, in a session of somebody else's. Like
-- every function of ours these find tables in our schema, and not in the session's temporary ones: `migrate` has set
-- search_path to our schema, pg_temp.
create function device_take_account_realm() returns trigger language plpgsql
    set search_path from current
as $$
begin
    select a.realm into new.account_realm from account a where a.id = new.account_id;
    if new.account_realm is null then
        raise foreign_key_violation
            using message = format('device %s: there is no account %s', new.id, new.account_id);
    end if;
    return new;
end $$;

create trigger device_take_account_realm before insert or update of account_id on device
    for each row execute function device_take_account_realm();

-- The next two look at the end of the transaction, and at the row as it then is: what only passes is no offence.
create function device_refuse_realm_of_another() returns trigger language plpgsql
    set search_path from current
as $$
begin
    if exists (
        select from device d join account a on a.realm = d.sip_realm and a.id <> d.account_id where d.id = new.id
    ) then
        raise check_violation
            using message = format('device %s: sip_realm %s is the realm of another account', new.id, new.sip_realm);
    end if;
    return null;
end $$;

create constraint trigger device_refuse_realm_of_another after insert or update of sip_realm, account_id on device
    deferrable initially deferred for each row when (new.sip_realm is not null)
    execute function device_refuse_realm_of_another();

create function account_refuse_nonsense() returns trigger language plpgsql
    set search_path from current
as $$
begin
    if exists (
        select from account a join device d on d.sip_realm = a.realm and d.account_id <> a.id where a.id = new.id
    ) then
        raise check_violation
            using message = format('account %s: realm %s is the sip_realm of another account''s device', new.id, new.realm);
    end if;
    if exists (
        with recursive above (id) as (
            select a.parent_id from account a where a.id = new.id
            union
            select a.parent_id from account a join above on a.id = above.id
        )
        select from above where above.id = new.id
    ) then
        raise check_violation using message = format('account %s is its own ancestor', new.id);
    end if;
    return null;
end $$;

create constraint trigger account_refuse_nonsense after insert or update of realm, parent_id on account
    deferrable initially deferred for each row execute function account_refuse_nonsense();

create table auth_token (
    id integer generated always as identity primary key,
    token_hash bytea not null,
    account_id identifier not null references account (id) on delete cascade,
    note text not null default '',
    created_at timestamptz not null default now(),
    last_used_at timestamptz not null default now(),
    idle_lifetime interval,
    constraint auth_token_token_hash_key unique (token_hash),
    constraint auth_token_token_hash_check check (length(token_hash) = 32),
    constraint auth_token_idle_lifetime_check check (idle_lifetime > interval '0')
);

create index auth_token_account_id_idx on auth_token (account_id);

comment on column auth_token.token_hash is 'SHA-256 of the token; the token itself is not kept';
comment on column auth_token.idle_lifetime is 'the token dies when unused for so long; null: never';

create view directory as
select
    lower(d.sip_username) as username,
    d.realm,
    d.id::text as device_id,
    d.name as device_name,
    d.account_id::text as account_id,
    a.name as account_name,
    a.realm::text as account_realm,
    d.owner_id::text as owner_id,
    o.name as owner_name,
    (d.enabled and a.enabled) as enabled,
    d.presence_id,
    d.suppress_unregister_notify,
    d.register_overwrite_notify
from device d
join account a on a.id = d.account_id
left join owner o on o.id = d.owner_id;

comment on view directory is 'every device with its account and owner; username is in lower case';

-- What Kamailio's auth_db reads. A database of kamdbctl has a table of that name, which stays with its users;
-- the view is called directory_subscriber there.
do $$
declare
    view_name text := case when to_regclass('subscriber') is null then 'subscriber' else 'directory_subscriber' end;
begin
    execute format($view$
        create view %I as
        select d.sip_username as username, d.realm as domain, ''::text as password, d.ha1, ''::text as ha1b
        from device d
        join account a on a.id = d.account_id
        where d.enabled and a.enabled and d.ha1 is not null
    $view$, view_name);
    insert into version (table_name, table_version) values (view_name, 7) on conflict (table_name) do nothing;
end $$;
