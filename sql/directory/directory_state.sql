-- A text that differs after each change of the directory: the count of the trigger directory_note_change, and the versions of
-- the views and functions that read the directory. Null if the count is incomplete: a table lacks the trigger, or a
-- subscription writes it (for which PostgreSQL calls no statement triggers), or a function is not immutable.
with recursive read (oid) as (
    select 'location_enrichment'::regclass::oid
    union
    select d.refobjid
    from read
    join pg_rewrite w on w.ev_class = read.oid
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.refclassid = 'pg_class'::regclass
    where d.refobjid not in ('location'::regclass, 'fingerprint_key'::regclass)
),
rules as (
    select w.oid, w.xmin from read join pg_rewrite w on w.ev_class = read.oid
),
functions as (
    select distinct p.oid, p.xmin::text, p.provolatile
    from rules r
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_proc'::regclass
    join pg_proc p on p.oid = d.refobjid
),
silent as (
    select
    from read
    join pg_class c on c.oid = read.oid
    where c.relkind <> 'v'
        and (
            not exists (
                select from pg_trigger t
                where t.tgrelid = c.oid and t.tgfoid = 'directory_note_change'::regproc and t.tgenabled in ('O', 'A')
            )
            or exists (select from pg_subscription_rel s where s.srrelid = c.oid)
        )
)
select case
    when not exists (select from silent) and not exists (select from functions f where f.provolatile <> 'i')
        then concat_ws(
            ' ',
            (select concat_ws('=', last_value, is_called) from directory_change),
            (select string_agg(concat_ws('=', oid, xmin), ' ' order by oid) from rules),
            (select string_agg(concat_ws('=', oid, xmin), ' ' order by oid) from functions)
        )
end
