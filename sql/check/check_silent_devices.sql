select count(*) filter (where not registered), count(*)
from report_device
where enabled
