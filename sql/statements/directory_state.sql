-- A text that another content of the directory changes: the numbers of changes, as PostgreSQL counts them, of all tables
-- that the worker's view reads, and how that reads them. Null where they do not tell: foreign and partitioned tables,
-- functions that may read others, counting switched off. A session tells of its changes when it is through with a
-- transaction, or ten seconds later.
with recursive read (oid) as (
    select 'location_enrichment'::regclass::oid
    union
    select d.refobjid
    from read
    join pg_class v on v.oid = read.oid and v.relkind = 'v'
    join pg_rewrite w on w.ev_class = v.oid
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.refclassid = 'pg_class'::regclass
    where d.refobjid <> 'location'::regclass
),
rules as (
    select w.oid, w.xmin::text from read join pg_rewrite w on w.ev_class = read.oid
),
functions as (
    select distinct p.oid, p.xmin::text, p.provolatile
    from rules
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = rules.oid and d.refclassid = 'pg_proc'::regclass
    join pg_proc p on p.oid = d.refobjid
)
select case
    when current_setting('track_counts')::boolean
        and not exists (select from functions f where f.provolatile <> 'i')
        and not exists (
            select from read join pg_class c using (oid) where c.relkind not in ('r', 'v', 'm') or c.relhassubclass
        )
        then concat_ws(
            ' ',
            (select string_agg(concat_ws('=', oid, xmin), ' ' order by oid) from rules),
            (select string_agg(concat_ws('=', oid, xmin), ' ' order by oid) from functions),
            (
                select string_agg(
                    concat_ws(
                        '=', oid, c.relfilenode, pg_stat_get_tuples_inserted(oid), pg_stat_get_tuples_updated(oid),
                        pg_stat_get_tuples_deleted(oid)
                    ),
                    ' ' order by oid
                )
                from read join pg_class c using (oid)
                where c.relkind <> 'v'
            )
        )
end
