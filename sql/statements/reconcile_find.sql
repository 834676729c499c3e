-- Enriched rows of which the directory now says something else. Reads only.
select l.id
from location l
join location_enrichment e on e.id = l.id
where l.enriched_at is not null
    and (l.account_id, l.device_id, l.owner_id, l.device_state)
        is distinct from (e.account_id, e.device_id, e.owner_id, e.device_state)
order by l.id
