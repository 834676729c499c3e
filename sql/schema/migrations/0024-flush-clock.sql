-- A flush remembers what it saw, so that it is told from a later REGISTER also after the clock was set back.
alter table flush_binding
    add column seen_epoch bigint,
    add column seen_cseq integer,
    add column asked_at timestamptz not null default now();

comment on column flush_binding.seen_epoch is 'last_modified of its row when the flush was asked for, which modified_epoch may be later than';
comment on column flush_binding.seen_cseq is 'cseq of its row at that time';
comment on column flush_binding.asked_at is 'when due_at was set; in the future: the clock was set back since, and due_at says nothing';
comment on column flush_node.last_error is 'a word, a colon, and words that may name URLs: clients are told the first';

-- How much an account's flushes have still to remove is asked before each of its flushes.
drop index flush_unfinished_idx;
create index flush_unfinished_idx on flush (account_id) where finished_at is null;

-- Did a binding register before a device was changed? A change that lies in the future was made before the clock was set
-- back, and so was a REGISTER that does; a later one would seem to come before the change, again and again.
create function registered_before(modified_epoch bigint, changed_at timestamptz)
    returns boolean language sql stable parallel safe
    return modified_epoch <= extract(epoch from changed_at)
        and (changed_at <= now() or modified_epoch > extract(epoch from now()));
