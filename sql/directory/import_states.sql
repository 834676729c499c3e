select 'account', state, count(*) from account_after where state not in ('untouched') group by state
union all
select 'owner', state, count(*) from owner_after where state not in ('untouched') group by state
union all
select 'device', state, count(*) from device_after where state not in ('cascaded') group by state
