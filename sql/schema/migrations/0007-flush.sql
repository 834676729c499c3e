-- Flushes as promises that outlive a request: what was asked for, and how far each node of Kamailio has come with it.
-- What hides a binding meanwhile stands in its row of location. The views could look into flush_binding instead, but a
-- plan that was made while that is empty, as it nearly always is, would take hours when it is not.

create table flush (
    id text primary key default replace(gen_random_uuid()::text, '-', ''),
    position bigint not null generated always as identity,
    account_id text not null,
    username text,
    cause text not null,
    requested_by text not null,
    request_id text,
    requested_at timestamptz not null default now(),
    bindings integer not null default 0,
    superseded integer not null default 0,
    finished_at timestamptz,
    constraint flush_cause_check check (
        cause in ('request', 'command', 'disabled', 'deleted', 'moved', 'credentials')
    )
);

create index flush_account_id_idx on flush (account_id, position);

create index flush_unfinished_idx on flush (id) where finished_at is null;

create index flush_finished_at_idx on flush (finished_at);

comment on table flush is 'each flush that was asked for: by a client, on the shell, or because the directory changed';
comment on column flush.position is 'the order in which they were asked for';
comment on column flush.username is 'in lower case; null: the whole account, or several of its usernames at once';
comment on column flush.requested_by is 'account ID of the client''s token, name of the shell''s user, or worker';
comment on column flush.bindings is 'how many showed in lists when it was asked for';
comment on column flush.superseded is 'how many of them registered again before a retry came to them';
comment on column flush.finished_at is 'when the last node confirmed the last binding';

create table flush_binding (
    id bigint generated always as identity primary key,
    flush_id text not null references flush (id) on delete cascade,
    ruid text,
    username text not null,
    domain text,
    server_id integer,
    modified_epoch bigint not null,
    cseq integer not null,
    expires_epoch bigint,
    shown boolean not null,
    confirmed integer[] not null default '{}',
    settled_at timestamptz,
    attempts integer not null default 0,
    due_at timestamptz not null
);

create index flush_binding_flush_id_idx on flush_binding (flush_id);

create index flush_binding_due_at_idx on flush_binding (due_at);

alter table flush_binding set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

comment on table flush_binding is 'bindings that flushes are to remove, as they were; each goes when no node has it and its row is gone';
comment on column flush_binding.ruid is 'null: an AoR that may be registered without a row (db_mode 2 writes late)';
comment on column flush_binding.modified_epoch is 'its last REGISTER, as of location.last_modified';
comment on column flush_binding.expires_epoch is 'epoch seconds from which no node can have it; null: never';
comment on column flush_binding.shown is 'whether it showed in lists, so was not being flushed already';
comment on column flush_binding.confirmed is 'server_ids of the nodes whose memory is clean of it; 0 for the one of a setting without server_ids';
comment on column flush_binding.settled_at is 'when the last node that may hold it confirmed; the row may stay for a while, hidden';
comment on column flush_binding.due_at is 'when the worker is to look at it next';

create table flush_node (
    flush_id text not null references flush (id) on delete cascade,
    node integer not null,
    attempts integer not null default 0,
    attempted_at timestamptz,
    confirmed_at timestamptz,
    last_error text,
    primary key (flush_id, node)
);

comment on table flush_node is 'what became of a flush at each node that was asked';

-- Which nodes may hold a binding: its own, or all where that is unknown or bindings are replicated.
create function flush_holders(server_id integer, nodes integer[], replicated boolean) returns integer[]
    language sql immutable parallel safe
    return case when not replicated and server_id = any (nodes) then array[server_id] else nodes end;

-- Is a REGISTER the one that a flush saw, or one before it?
create function registration_is(modified_epoch bigint, cseq integer, flushed_epoch bigint, flushed_cseq integer)
    returns boolean language sql immutable parallel safe
    return modified_epoch < flushed_epoch or (modified_epoch = flushed_epoch and cseq = flushed_cseq);

-- Does a binding live? usrloc: VALID_CONTACT in ul_mod, expires > now or 0.
create function registration_lives(expires bigint) returns boolean language sql stable parallel safe
    return expires = 0 or expires > extract(epoch from now())::float8;

-- Does it show? Not while a flush hides it.
create function registration_shows(
    expires bigint, modified_epoch bigint, cseq integer, flushed_epoch bigint, flushed_cseq integer
) returns boolean language sql stable parallel safe
    return (expires = 0 or expires > extract(epoch from now())::float8)
        and (
            flushed_epoch is null
            or modified_epoch > flushed_epoch
            or (modified_epoch = flushed_epoch and cseq <> flushed_cseq)
        );

grant select, insert, update on flush, flush_node to registrations_api;
grant select, insert, update, delete on flush_binding to registrations_api;
grant select, insert, update, delete on flush, flush_binding, flush_node to registrations_sync;
grant select on flush, flush_node to registrations_report;
grant select on kamailio_node to registrations_api, registrations_sync;
grant select (id, parent_id, name) on account to registrations_sync;

-- A tombstone is the REGISTER that a flush saw, by its second and, of several in one second, its CSeq (RFC 3261, 10.2).
-- Those that are there are found before location is locked: what holds that lock may read no table.
do $$
declare
    ids bigint[];
    epochs bigint[];
    cseqs integer[];
begin
    select array_agg(id), array_agg(registration_epoch(last_modified)), array_agg(cseq) into ids, epochs, cseqs
    from location
    where flushed_at is not null and registration_epoch(last_modified) <= extract(epoch from flushed_at);
    alter table location add column flushed_epoch bigint, add column flushed_cseq integer;
    for i in 1 .. coalesce(cardinality(ids), 0) loop
        update location set flushed_epoch = epochs[i], flushed_cseq = cseqs[i] where id = ids[i];
    end loop;
end $$;

comment on column location.flushed_epoch is 'tombstone: last_modified of the REGISTER that a flush saw; the row is hidden until a later one';
comment on column location.flushed_cseq is 'tombstone: cseq of that REGISTER';

create or replace view live_location as
select
    l.id, l.account_id, l.device_id, l.owner_id, nullif(l.domain, '') as realm,
    registration_epoch(l.expires) as expires_epoch, registration_epoch(l.last_modified) as modified_epoch,
    l.first_registered_at, l.ruid, registration_text(l.username) as username, l.contact, l.received, l.path, l.callid, l.user_agent, l.socket,
    l.instance, l.server_id
from location l
where l.enriched_at is not null
    and registration_shows(
        registration_epoch(l.expires), registration_epoch(l.last_modified), l.cseq, l.flushed_epoch, l.flushed_cseq
    )
union all
select
    l.id, e.account_id, e.device_id, e.owner_id, nullif(l.domain, '') as realm,
    registration_epoch(l.expires), registration_epoch(l.last_modified),
    l.first_registered_at, l.ruid, registration_text(l.username) as username, l.contact, l.received, l.path, l.callid, l.user_agent, l.socket,
    l.instance, l.server_id
from location l
join location_directory e on e.id = l.id
where l.enriched_at is null
    and registration_shows(
        registration_epoch(l.expires), registration_epoch(l.last_modified), l.cseq, l.flushed_epoch, l.flushed_cseq
    );

drop function registration_shows(bigint, bigint, timestamptz);

revoke update (flushed_at) on location from registrations_api, registrations_sync;

alter table location drop column flushed_at;

grant update (flushed_epoch, flushed_cseq) on location to registrations_api, registrations_sync;
