-- Every server_id that rows have, and how many rows, counted no further than the limit: a few steps in an index.
with recursive ids (server_id) as (
    select min(server_id) from location
    union all
    select (select min(l.server_id) from location l where l.server_id > ids.server_id)
    from ids where ids.server_id is not null
)
select ids.server_id, (select count(*) from (select from location l where l.server_id = ids.server_id limit %(limit)s) c)
from ids where ids.server_id is not null
