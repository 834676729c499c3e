-- Skips rows that have these values already: PostgreSQL locks and logs even a row that `on conflict` leaves alone. A row
-- that was written after these facts were fetched stays, unless its time is in the future: then the clock was set back.
-- Writes in the order of the key, so that two workers cannot deadlock. The commit does not wait for the disk: Kamailio
-- announces again what a crash loses.
with said as materialized (
    select s.ruid, s.received, s.from_user, s.from_host, num_nulls(s.received, s.from_user, s.from_host) = 3 as nothing
    from unnest(%(ruids)s::text[], %(sources)s::text[], %(from_users)s::text[], %(from_hosts)s::text[])
        as s (ruid, received, from_user, from_host)
    cross join (select set_config('synchronous_commit', 'off', true)) o
    order by s.ruid
),
written as (
    insert into registration_source as f (ruid, received, from_user, from_host)
    select s.ruid, s.received, s.from_user, s.from_host
    from said s
    where not s.nothing
        and not exists (
            select from registration_source same
            where same.ruid = s.ruid
                and (same.received, same.from_user, same.from_host)
                    is not distinct from (s.received, s.from_user, s.from_host)
        )
    order by s.ruid
    on conflict (ruid) do update set
        received = excluded.received, from_user = excluded.from_user, from_host = excluded.from_host, updated_at = now()
    where f.updated_at not between now() - make_interval(secs => %(age)s) and now() + interval '1 minute'
    returning 1
),
deleted as (
    delete from registration_source f using said s
    where s.nothing
        and f.ruid = s.ruid
        and f.updated_at not between now() - make_interval(secs => %(age)s) and now() + interval '1 minute'
    returning 1
)
select (select count(*) from written), (select count(*) from deleted)
