-- Roles with which a Kamailio that loads registrations.cfg is connected, but for ours; and what would make each a member.
select distinct usename::text, format('grant registrations_kamailio to %%I', usename)
from pg_stat_activity
where datname = current_database() and application_name = 'kamailio' and usename <> all (%(roles)s)
order by 1
