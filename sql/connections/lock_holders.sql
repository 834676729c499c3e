-- Sessions that blocked us before we began to wait. They hold the advisory lock with that key or, without a key, a lock on a
-- table of this schema; or, given a process, whatever that one waits for. A role outside pg_read_all_stats does not see all
-- facts about sessions of other roles.
select
    case when l.pid is null then 'prepared transaction ' || p.gid else 'process ' || l.pid end as holder,
    concat_ws(
        ', ',
        'role ' || coalesce(a.usename, p.owner),
        nullif(a.backend_type, 'client backend'),
        nullif(a.application_name, ''),
        'from ' || host(a.client_addr),
        a.state,
        'in a transaction since ' || date_trunc('second', coalesce(a.xact_start, p.prepared)),
        'connected since ' || date_trunc('second', a.backend_start)
    ) as facts
from pg_locks l
left join pg_stat_activity a on a.pid = l.pid
left join pg_prepared_xacts p on l.pid is null and l.virtualtransaction = '-1/' || p.transaction
where l.granted
    and l.pid is distinct from pg_backend_pid()
    and (l.database = (select oid from pg_database where datname = current_database()) or %(pid)s::integer is not null)
    and case
        when %(pid)s::integer is not null then coalesce(l.pid, 0) = any (pg_blocking_pids(%(pid)s))
        when %(key)s::bigint is not null
            then l.locktype = 'advisory' and l.objsubid = 1 and (l.classid::bigint << 32) | l.objid::bigint = %(key)s
        else l.locktype = 'relation'
            and l.relation in (select oid from pg_class where relnamespace = (select oid from pg_namespace where nspname = current_schema()))
            -- a shorter transaction, such as a REGISTER, is no obstacle
            and coalesce(a.xact_start, p.prepared, '-infinity') < clock_timestamp() - interval '50 ms'
    end
group by 1, 2, coalesce(a.xact_start, p.prepared)
order by coalesce(a.xact_start, p.prepared)
