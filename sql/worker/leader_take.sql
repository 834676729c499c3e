-- Succeeds only if the term is still the one that was read, so of two that try one leads.
insert into leader (term, pid, backend_start)
select 1, pid, backend_start from pg_stat_activity where pid = pg_backend_pid()
on conflict (only_one) do update set
    term = leader.term + 1, pid = excluded.pid, backend_start = excluded.backend_start
where leader.term = %(term)s
