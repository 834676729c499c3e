-- All owners as they will be after the import, and what the import does with each.
create temporary table owner_after on commit drop as
select
    next.*,
    i.at,
    o.account_id::text as account_id_before,
    case
        when i.id is null then 'untouched'
        when o.id is null then 'created'
        when (next.account_id, next.name) is distinct from (o.account_id::text, o.name) then 'updated'
        else 'unchanged'
    end as state
from import_owner i
full join owner o on o.id::text = i.id
cross join lateral (
    select
        coalesce(i.id, o.id::text) as id,
        coalesce(i.account_id, o.account_id::text) as account_id,
        coalesce(i.name, o.name, '') as name
) next
where i.id is not null or not %(replace)s
