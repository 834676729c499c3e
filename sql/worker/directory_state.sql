-- A text that another content of the directory changes: the numbers of changes, as PostgreSQL counts them, of all tables
-- that the worker's view reads, and how that reads them. Null where they do not tell: before PostgreSQL 15, whose idle
-- sessions keep theirs; counting switched off; foreign and partitioned tables, row security; functions that are not
-- immutable, of whatever kind (in a rule's text, since pg_depend has no built-in ones).
-- A crash sets the numbers to zero, so when that was is part of it.
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
    select w.oid, w.xmin::text, w.ev_action::text as action
    from read
    join pg_class v on v.oid = read.oid and v.relkind = 'v'
    join pg_rewrite w on w.ev_class = v.oid
),
functions as (
    select distinct p.oid, p.xmin::text, p.provolatile
    from rules
    cross join regexp_matches(rules.action, ':(?:funcid|opfuncid) (\d+)', 'g') found
    join pg_proc p on p.oid = found[1]::oid
)
select case
    when current_setting('server_version_num')::integer >= 150000
        and current_setting('track_counts')::boolean
        and not exists (select from functions f where f.provolatile <> 'i')
        and not exists (select from rules r where strpos(r.action, 'SQLVALUEFUNCTION') > 0)
        and not exists (
            select
            from read
            join pg_class c using (oid)
            where c.relkind not in ('r', 'v', 'm') or c.relhassubclass or c.relrowsecurity
        )
        then concat_ws(
            ' ',
            pg_postmaster_start_time(),
            pg_stat_get_bgwriter_stat_reset_time(),
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
