-- Roles with which a Kamailio that loads registrations.cfg is connected, and which of ours are not there.
select
    (
        select array_agg(distinct usename::text) from pg_stat_activity
        where datname = current_database() and application_name = 'kamailio' and usename is not null
    ),
    (select array_agg(name) from unnest(%(roles)s::text[]) name where to_regrole(name) is null)
