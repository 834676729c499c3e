-- Flushes as promises that outlive a request: what was asked for, and how far each node of Kamailio has come with it.
-- What hides a binding meanwhile is in its row of location. The views could look into flush_binding instead, but a plan that
-- was made while that is empty, as it nearly always is, would take hours when it is not.
-- Locks no table of Kamailio's.

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

-- How much an account's flushes have still to remove is asked before each of its flushes.
create index flush_unfinished_idx on flush (account_id) where finished_at is null;

create index flush_finished_at_idx on flush (finished_at);

comment on table flush is 'each flush that was asked for: by a client, on the shell, or because the directory changed';
comment on column flush.id is 'ID of the flush, in the API';
comment on column flush.position is 'the order in which they were asked for';
comment on column flush.account_id is 'account that was flushed';
comment on column flush.username is 'in lower case; null: the whole account, or several of its usernames at once';
comment on column flush.cause is 'request (API), command (shell), or what changed in the directory: disabled, deleted, moved, credentials';
comment on column flush.requested_by is 'account ID of the client''s token, name of the shell''s user, or worker';
comment on column flush.request_id is 'ID of the API''s request, as in its log; null: another cause';
comment on column flush.requested_at is 'when it was asked for';
comment on column flush.bindings is 'how many were listed when it was asked for';
comment on column flush.superseded is 'how many of them registered again before a retry came to them';
comment on column flush.finished_at is 'when the last node confirmed the last binding; null: not yet';

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
    due_at timestamptz not null,
    seen_epoch bigint,
    seen_cseq integer,
    asked_at timestamptz not null default now(),
    seen_callid text
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

create index flush_binding_flush_id_idx on flush_binding (flush_id);

create index flush_binding_due_at_idx on flush_binding (due_at);

comment on table flush_binding is 'bindings that flushes are to remove, as they were; each goes when no node has it and its row is gone';
comment on column flush_binding.id is 'number, which says nothing';
comment on column flush_binding.flush_id is 'the flush';
comment on column flush_binding.ruid is 'usrloc''s key of the binding; null: an AoR that may be registered without a row (db_mode 2 writes late)';
comment on column flush_binding.username is 'user of its AoR';
comment on column flush_binding.domain is 'domain of its AoR; null: none is stored';
comment on column flush_binding.server_id is 'number of its Kamailio node; null: not known';
comment on column flush_binding.modified_epoch is 'its last REGISTER, as of location.last_modified';
comment on column flush_binding.cseq is 'cseq of that REGISTER';
comment on column flush_binding.expires_epoch is 'epoch seconds from which no node can have it; null: never';
comment on column flush_binding.shown is 'whether it was listed, so was not being flushed already';
comment on column flush_binding.confirmed is 'server_ids of the nodes whose memory is clean of it; 0 for the one of a setting without server_ids';
comment on column flush_binding.settled_at is 'when the last node that may hold it confirmed; the row may stay for a while, hidden';
comment on column flush_binding.attempts is 'how often the worker tried to remove it';
comment on column flush_binding.due_at is 'when the worker tries next';
comment on column flush_binding.seen_epoch is 'last_modified of its row when the flush was asked for, which modified_epoch may be later than';
comment on column flush_binding.seen_cseq is 'cseq of its row at that time';
comment on column flush_binding.asked_at is 'when due_at was set; in the future: the clock was set back since, and due_at says nothing';
comment on column flush_binding.seen_callid is 'callid of its row at that time; null: not known';

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
comment on column flush_node.flush_id is 'the flush';
comment on column flush_node.node is 'server_id of the Kamailio node';
comment on column flush_node.attempts is 'how often it was asked';
comment on column flush_node.attempted_at is 'when it was asked last; null: not yet';
comment on column flush_node.confirmed_at is 'when it had confirmed every binding; null: not yet';
comment on column flush_node.last_error is 'a word, a colon, and words that may name URLs: clients are told the first; null: it answered well';

create function flush_holders(server_id integer, nodes integer[], replicated boolean) returns integer[]
    language sql immutable parallel safe
    return case when not replicated and server_id = any (nodes) then array[server_id] else nodes end;

comment on function flush_holders(integer, integer[], boolean) is 'which nodes may hold a binding: its own, or all where that is not known or bindings are replicated';

-- A REGISTER is known by its second and, of several in one second, by its Call-ID and CSeq (RFC 3261, 10.2).
create function registration_is(
    modified_epoch bigint, cseq integer, callid text, flushed_epoch bigint, flushed_cseq integer, flushed_callid text
) returns boolean language sql immutable parallel safe
    return modified_epoch < flushed_epoch
        or (modified_epoch = flushed_epoch and cseq = flushed_cseq and callid = coalesce(flushed_callid, callid));

comment on function registration_is(bigint, integer, text, bigint, integer, text) is 'whether a REGISTER is the one that a flush saw, or one before it';
