-- All accounts as they will be after the import, and what the import does with each.
create temporary table account_after on commit drop as
select
    next.*,
    i.at,
    a.realm::text as realm_before,
    next.superduper_admin <> coalesce(a.superduper_admin, false) as gives_superduper_admin,
    next.api_key_hash is distinct from a.api_key_hash as gives_api_key,
    case
        when i.id is null then 'untouched'
        when a.id is null then 'created'
        when (next.parent_id, next.name, next.realm, next.enabled, next.superduper_admin, next.api_key_hash)
            is distinct from (a.parent_id::text, a.name, a.realm::text, a.enabled, a.superduper_admin, a.api_key_hash)
            then 'updated'
        else 'unchanged'
    end as state
from import_account i
full join account a on a.id::text = i.id
cross join lateral (
    select
        coalesce(i.id, a.id::text) as id,
        nullif(coalesce(i.parent_id, a.parent_id::text), '') as parent_id,
        coalesce(i.name, a.name) as name,
        coalesce(i.realm, a.realm::text) as realm,
        coalesce(i.enabled, a.enabled, true) as enabled,
        coalesce(i.superduper_admin, a.superduper_admin, false) as superduper_admin,
        coalesce(i.api_key_hash, a.api_key_hash) as api_key_hash
) next
where i.id is not null or not %(replace)s
