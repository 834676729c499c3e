-- An UPDATE may find room on its page although the disk is full; a temporary file does not. The message makes the
-- transaction write WAL and wait for its commit. It needs no table and no privilege, and nobody reads it.
select
    pg_logical_emit_message(true, 'kamailio-registrations', 'can write'),
    (select count(distinct repeat(md5(n::text), 32) collate "C") from generate_series(1, 1000) n)
