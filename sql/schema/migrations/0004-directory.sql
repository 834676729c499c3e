-- The tables of the directory: accounts, owners and devices. An import fills them.
-- Locks no table of Kamailio's.

create domain identifier as text
    constraint identifier_check check (length(value) between 1 and 64 and value !~ '[[:cntrl:]/]');

create domain realm as text
    constraint realm_check check (
        value ~ '^[\u0021-\u003f\u0041-\u007e]{1,253}$' and value = lower(value)
    );

comment on domain identifier is 'ID of an account, an owner or a device, which paths of the API contain';
comment on domain realm is 'domain of an AoR, in lower case';

create table account (
    id identifier primary key,
    parent_id identifier references account (id) deferrable initially deferred,
    name text not null,
    realm realm not null,
    enabled boolean not null default true,
    superduper_admin boolean not null default false,
    api_key_hash bytea,
    disabled_at timestamptz,
    automatic boolean not null default false,
    constraint account_realm_key unique (realm),
    constraint account_id_realm_key unique (id, realm),
    constraint account_api_key_hash_key unique (api_key_hash),
    constraint account_api_key_hash_check check (length(api_key_hash) = 32)
);

create index account_parent_id_idx on account (parent_id);

comment on table account is 'customers; each has one realm';
comment on column account.id is 'ID of the account, in paths of the API';
comment on column account.parent_id is 'account above it, whose tokens open it, too; null: none';
comment on column account.name is 'name for people, or empty';
comment on column account.realm is 'domain in which its devices register';
comment on column account.enabled is 'whether its devices may register and its tokens open anything';
comment on column account.superduper_admin is 'whether its tokens open every account';
comment on column account.api_key_hash is 'SHA-256 of the account''s API key; the key itself is not kept';
comment on column account.disabled_at is 'when it was last disabled; null: never since it was imported';
comment on column account.automatic is 'made of a domain by account_follow_domains; an import makes it an account like any other, or replaces it';

create table owner (
    id identifier primary key,
    account_id identifier not null references account (id),
    name text not null default '',
    constraint owner_id_account_id_key unique (id, account_id)
);

create index owner_account_id_idx on owner (account_id);

comment on table owner is 'people to whom devices belong';
comment on column owner.id is 'ID of the owner';
comment on column owner.account_id is 'account of the owner';
comment on column owner.name is 'name for people, or empty';

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
    credentials_changed_at timestamptz,
    disabled_at timestamptz,
    constraint device_account_fkey foreign key (account_id, account_realm)
        references account (id, realm) on update cascade,
    constraint device_owner_fkey foreign key (owner_id, account_id) references owner (id, account_id),
    constraint device_sip_username_check check (sip_username ~ '^[\u0020-\u007e]{1,64}$'),
    constraint device_ha1_check check (ha1 ~ '^[0-9a-f]{32}$')
);

-- With what sip_lower stands for, so that the index does not depend on the function.
create unique index device_aor_idx on device (lower(sip_username collate "C") collate "default", realm);

create index device_account_id_idx on device (account_id);

create index device_owner_id_idx on device (owner_id);

create index device_sip_realm_idx on device (sip_realm) where sip_realm is not null;

-- A list shows these three facts, which hardly any device has other than by default. So only those devices are looked up
-- that have; the index holds no others, and mostly nothing.
create index device_unusual_idx on device (id)
    where presence_id is not null or not suppress_unregister_notify or register_overwrite_notify;

comment on table device is 'phones that may register; username and realm are unique, whatever their case';
comment on column device.id is 'ID of the device';
comment on column device.account_id is 'account of the device';
comment on column device.owner_id is 'owner of the device, of the same account; null: nobody';
comment on column device.name is 'name for people, or empty';
comment on column device.sip_username is 'user of its AoR, and for its password';
comment on column device.sip_realm is 'realm of its own; null: the account''s';
comment on column device.account_realm is 'the account''s realm, filled in and kept equal to it';
comment on column device.realm is 'realm of the AoR: sip_realm, or else the account''s';
comment on column device.ha1 is 'MD5(sip_username:realm:password), RFC 2617; null: it cannot log in';
comment on column device.enabled is 'whether it may register';
comment on column device.presence_id is 'Kazoo''s presence_id; null: none';
comment on column device.suppress_unregister_notify is 'Kazoo''s setting of that name';
comment on column device.register_overwrite_notify is 'Kazoo''s setting of that name';
comment on column device.credentials_changed_at is 'when ha1 last changed from one to another; null: never since it was imported';
comment on column device.disabled_at is 'when it was last disabled; null: never since it was imported';

-- Rules that a constraint cannot say. Like all our functions these look names up in our schema and not among the session's
-- temporary tables: `migrate` has set search_path to our schema, pg_temp. A cascade of a foreign key runs triggers with the
-- rights of the table's owner, in a session of somebody else's.
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

comment on function device_take_account_realm() is 'trigger of device: fills in account_realm';

-- The next two run at the end of the transaction and look at the row as it then is: an import may pass through a state that
-- they would refuse.
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

comment on function device_refuse_realm_of_another() is 'trigger of device: refuses a sip_realm that is the realm of another account';

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

comment on function account_refuse_nonsense() is 'trigger of account: refuses the sip_realm of another account''s device, and an account above itself';

-- When a device lost what it may do. Whoever registered before that is flushed.
create function device_note_credentials() returns trigger language plpgsql
    set search_path from current
as $$
begin
    new.credentials_changed_at = now();
    return new;
end $$;

create trigger device_note_credentials before update of ha1 on device
    for each row when (old.ha1 <> new.ha1 or (old.ha1 is not null and new.ha1 is null))
    execute function device_note_credentials();

create function note_disabled() returns trigger language plpgsql
    set search_path from current
as $$
begin
    new.disabled_at = now();
    return new;
end $$;

create trigger device_note_disabled before update of enabled on device
    for each row when (old.enabled and not new.enabled) execute function note_disabled();

create trigger account_note_disabled before update of enabled on account
    for each row when (old.enabled and not new.enabled) execute function note_disabled();

comment on function device_note_credentials() is 'trigger of device: sets credentials_changed_at';
comment on function note_disabled() is 'trigger of device and account: sets disabled_at';

-- What Kamailio's auth_db reads at each REGISTER: one small table, since Kamailio does not keep the plan of a statement, and
-- a view of device and account cost a tenth of the processor time of a REGISTER for the plan alone. It follows device and
-- account. The foreign key removes what is deleted, by truncate, too. A database of kamdbctl has a table `subscriber` already,
-- which stays with its users; elsewhere ours has that name.
do $make$
begin
    execute replace(
        $ddl$
        -- Kamailio's own types: db_postgres calls a column of type text a blob, and auth_db of 6.1 refuses that.
        create table directory_subscriber (
            device_id identifier primary key references device on update cascade on delete cascade,
            username varchar(64) not null,
            domain varchar(253) not null,
            password varchar(64) not null default '',
            ha1 varchar(128) not null,
            -- What auth_db takes for a digest username with "@". No such user exists, so it is a secret that nobody knows.
            -- Empty, it would have auth_db compare with whatever lies in its memory.
            ha1b varchar(128) not null
                default left(encode(sha256((gen_random_uuid()::text || gen_random_uuid()::text)::bytea), 'hex'), 32)
        );

        create unique index device_subscriber_idx on directory_subscriber (username, domain);

        comment on table directory_subscriber is 'what auth_db reads: every device that may log in; follows device and account by itself';
        comment on column directory_subscriber.device_id is 'device';
        comment on column directory_subscriber.username is 'sip_username of the device';
        comment on column directory_subscriber.domain is 'realm of the device';
        comment on column directory_subscriber.password is 'always empty';
        comment on column directory_subscriber.ha1 is 'ha1 of the device';
        comment on column directory_subscriber.ha1b is 'random; auth_db wants a value';

        -- The account is locked: else one that is disabled at this moment would keep the device that comes now.
        create function device_note_subscriber() returns trigger
            language plpgsql security definer set search_path from current
        as $body$
        begin
            delete from directory_subscriber s using came d where s.device_id = d.id;
            insert into directory_subscriber (device_id, username, domain, ha1)
                select d.id, d.sip_username, d.realm, d.ha1
                from came d
                join account a on a.id = d.account_id
                where d.enabled and a.enabled and d.ha1 is not null
                for share of a;
            return null;
        end $body$;

        create function account_note_subscribers() returns trigger
            language plpgsql security definer set search_path from current
        as $body$
        begin
            delete from directory_subscriber s using device d where d.account_id = new.id and s.device_id = d.id;
            insert into directory_subscriber (device_id, username, domain, ha1)
                select d.id, d.sip_username, d.realm, d.ha1 from device d
                where d.account_id = new.id and d.enabled and new.enabled and d.ha1 is not null;
            return null;
        end $body$;

        insert into version (table_name, table_version)
        values ('directory_subscriber', 7)
        on conflict (table_name) do nothing;
        $ddl$,
        'directory_subscriber',
        case when to_regclass('subscriber') is null then 'subscriber' else 'directory_subscriber' end
    );
end $make$;

-- Whoever may execute them may make them triggers of a table of his own.
revoke execute on function device_note_subscriber(), account_note_subscribers() from public;

create trigger device_note_subscriber_new after insert on device
    referencing new table as came for each statement execute function device_note_subscriber();

create trigger device_note_subscriber_changed after update on device
    referencing new table as came for each statement execute function device_note_subscriber();

create trigger account_note_subscribers after update of enabled on account
    for each row when (old.enabled <> new.enabled) execute function account_note_subscribers();

comment on function device_note_subscriber() is 'trigger of device: what auth_db reads follows';
comment on function account_note_subscribers() is 'trigger of account: what auth_db reads follows';

-- Each statement that changes the directory draws a number, so that the worker compares all rows with it only when there was
-- one. nextval waits for nobody, and nobody waits for it.
create sequence directory_change;

comment on sequence directory_change is 'goes up with each statement that changes the directory';

-- With its owner's rights: who writes the table needs none of ours. Nor may his statement fail because of this; the worker
-- finds a change that was not counted within a quarter of an hour.
create function directory_note_change() returns trigger
    language plpgsql security definer set search_path from current
as $$
begin
    perform nextval('directory_change');
    return null;
exception when others then
    return null;
end $$;

comment on function directory_note_change() is 'trigger function: counts a change of the directory';

-- Whoever may execute it may make it a trigger of a table of his own.
revoke execute on function directory_note_change() from public;

create trigger directory_note_change after insert or update or delete or truncate on account
    for each statement execute function directory_note_change();

create trigger directory_note_change after insert or update or delete or truncate on owner
    for each statement execute function directory_note_change();

create trigger directory_note_change after insert or update or delete or truncate on device
    for each statement execute function directory_note_change();
