-- usrloc's own tables, version 9, and our columns behind Kamailio's.
-- On an empty database they are made with expires and last_modified as epoch seconds (usrloc expires_type=1).
-- On a database of kamdbctl the tables stay as they are, with their rows, their TIMESTAMP columns and their integer ids.
-- The record of migrations is made here, too: if this one fails, nothing is left.
-- Locks location for some milliseconds, reading no row. Waits 50 ms for the lock at the most, then tries again.

create table registrations_migration (
    name text primary key,
    applied_at timestamptz not null default now()
);

comment on table registrations_migration is 'the migrations that were applied to this schema; registrations-db migrate writes it';
comment on column registrations_migration.name is 'file name of the migration, without .sql';
comment on column registrations_migration.applied_at is 'when it was applied';

create table if not exists version (
    id serial primary key not null,
    table_name varchar(32) not null,
    table_version integer default 0 not null,
    constraint version_table_name_idx unique (table_name)
);

create table if not exists location (
    id bigserial primary key not null,
    ruid varchar(64) default '' not null,
    username varchar(64) default '' not null,
    domain varchar(64) default null,
    contact varchar(512) default '' not null,
    received varchar(128) default null,
    path varchar(512) default null,
    expires bigint default 0 not null,
    q real default 1.0 not null,
    callid varchar(255) default 'Default-Call-ID' not null,
    cseq integer default 1 not null,
    last_modified bigint default 0 not null,
    flags integer default 0 not null,
    cflags integer default 0 not null,
    user_agent varchar(255) default '' not null,
    socket varchar(64) default null,
    methods integer default null,
    instance varchar(255) default null,
    reg_id integer default 0 not null,
    server_id integer default 0 not null,
    connection_id integer default 0 not null,
    keepalive integer default 0 not null,
    partition integer default 0 not null,
    constraint location_ruid_idx unique (ruid)
);

create table if not exists location_attrs (
    id bigserial primary key not null,
    ruid varchar(64) default '' not null,
    username varchar(64) default '' not null,
    domain varchar(64) default null,
    aname varchar(64) default '' not null,
    atype integer default 0 not null,
    avalue varchar(512) default '' not null,
    last_modified bigint default 0 not null
);

insert into version (table_name, table_version)
values ('version', 1), ('location', 9), ('location_attrs', 1)
on conflict (table_name) do nothing;

-- An older kamdbctl may have made narrower columns, such as a contact of 255 characters. PostgreSQL refuses longer values,
-- and those phones cannot register. Widening rewrites nothing. PostgreSQL refuses to widen a column that a view of the
-- operator's shows, so it stays as it is: `check` reports it, and `registrations-db widen` widens it.
do $$
declare
    narrow record;
begin
    for narrow in
        select a.attname as name, w.width
        from (
            values ('ruid', 64), ('username', 64), ('domain', 64), ('contact', 512), ('received', 128), ('path', 512),
                ('callid', 255), ('user_agent', 255), ('socket', 64), ('instance', 255)
        ) w (name, width)
        join pg_attribute a on a.attrelid = 'location'::regclass and a.attname = w.name
        where a.atttypid = 'varchar'::regtype and a.atttypmod - 4 between 0 and w.width - 1
    loop
        begin
            execute format('alter table location alter %I type varchar(%s)', narrow.name, narrow.width);
        exception when feature_not_supported then
            null;
        end;
    end loop;
end $$;

-- The columns are nullable and have no default, so PostgreSQL rewrites nothing and the lock lasts an instant.
alter table location
    add column account_id text,
    add column device_id text,
    add column owner_id text,
    add column enriched_at timestamptz,
    add column first_registered_at timestamptz,
    add column flushed_epoch bigint,
    add column flushed_cseq integer,
    add column device_state text,
    add column flushed_callid text;

-- Only new rows get the default. When the existing rows first registered is not known.
alter table location alter column first_registered_at set default now();

comment on column location.account_id is 'set by the sync worker: the account of the device, or else of the realm';
comment on column location.device_id is 'set by the sync worker: the device with this username and realm';
comment on column location.owner_id is 'set by the sync worker: the owner of that device';
comment on column location.enriched_at is 'when the sync worker first set the three; null: not yet';
comment on column location.first_registered_at is 'when the row was inserted; null: before the table had this column';
comment on column location.flushed_epoch is 'tombstone: last_modified of the REGISTER that a flush saw; the row is hidden until a later one';
comment on column location.flushed_cseq is 'tombstone: cseq of that REGISTER';
comment on column location.device_state is 'set by the sync worker: whether the device was enabled, and a fingerprint of its credentials';
comment on column location.flushed_callid is 'tombstone: callid of that REGISTER';
