select distinct device_id collate "C"
from live_location
where account_id = %(account_id)s and device_id is not null
order by 1
