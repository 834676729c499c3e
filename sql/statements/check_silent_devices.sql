select count(*), (select count(*) from directory where enabled)
from directory d
where d.enabled and not exists (select from location l where l.device_id = d.device_id)
