-- Which of several workers leads: the one whose session this row names. An advisory lock would need no table, but any
-- login may take one: whoever could read a report could stop the worker. Here only the worker's role may write, or lock.

create table leader (
    only_one boolean primary key default true check (only_one),
    term bigint not null,
    pid integer not null,
    backend_start timestamptz not null
);

comment on table leader is 'the session of the worker that leads';
comment on column leader.term is 'goes up when the lead changes hands; who takes it says which term he saw';
comment on column leader.backend_start is 'with pid, names a session of this server and no other, also after a failover';

-- Whether that session lives. PostgreSQL shows backend_start and state_change to the same login and to pg_read_all_stats;
-- who sees neither goes by the process, the login's rights and the name. A pooler lends a session on to another client,
-- under that client's name: the lead ends with the one it was taken under.
create view leading_session as
select l.term, a.pid, a.state_change
from leader l
left join pg_stat_activity a
    on a.pid = l.pid
    and coalesce(a.backend_start, l.backend_start) = l.backend_start
    and a.application_name = 'registrations-sync leader'
    and has_table_privilege(a.usesysid, l.tableoid, 'update');

comment on view leading_session is 'the last term, and the session that leads: null when it has ended';

grant select, insert, update on leader to registrations_sync;
grant select on leading_session to registrations_sync;
