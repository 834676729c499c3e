select 'account' as kind, 'id' as field, i.id_at as at, 'id_twice' as problem, i.id as value,
    null as other, 'account' as other_kind, first.at as other_at
from import_account i
join (select id, min(id_at) as at from import_account group by id having count(*) > 1) first on first.id = i.id
where i.id_at <> first.at
union all
select 'account', 'realm', t.realm_at, 'realm_twice', t.realm, t.first_id, 'account', t.first_at
from (
    select
        id, realm, realm_at,
        first_value(id) over the_realm as first_id,
        first_value(realm_at) over the_realm as first_at
    from account_after
    window the_realm as (partition by realm order by state = 'untouched' desc, realm_at)
) t
where t.id <> t.first_id and t.realm <> ''
union all
select 'account', 'api_key', t.api_key_at, 'api_key_twice', null, t.first_id, 'account', t.first_at
from (
    select
        id, api_key_at,
        first_value(id) over the_key as first_id,
        first_value(api_key_at) over the_key as first_at
    from account_after
    where api_key_hash is not null
    window the_key as (partition by api_key_hash order by api_key_at nulls first)
) t
where t.id <> t.first_id
union all
select 'account', 'parent_id', t.parent_id_at, 'no_parent', t.parent_id, null, null, null
from account_after t
where t.state <> 'untouched'
    and t.parent_id is not null
    and not exists (select from account_after p where p.id = t.parent_id)
union all
select 'account', 'superduper_admin', coalesce(t.superduper_admin_at, t.id_at), 'no_right_to_give', t.id,
    current_user::text, null, null
from account_after t
where t.gives_superduper_admin and not %(may_give_rights)s
union all
select 'account', 'api_key', coalesce(t.api_key_at, t.id_at), 'no_right_to_give', t.id,
    current_user::text, null, null
from account_after t
where t.gives_api_key and not %(may_give_rights)s
union all
-- Those that no walk down from the top meets hang on a circle or are part of one; only they are walked up.
select 'account', 'parent_id', t.parent_id_at, 'own_ancestor', t.id, null, null, null
from account_after t
where t.state <> 'untouched'
    and t.id in (
        with recursive below (id) as (
            select top.id
            from account_after top
            where top.parent_id is null or not exists (select from account_after p where p.id = top.parent_id)
            union
            select child.id from account_after child join below on child.parent_id = below.id
        ), above (id, ancestor_id) as (
            select a.id, a.parent_id from account_after a where a.id not in (select below.id from below)
            union
            select above.id, a.parent_id from above join account_after a on a.id = above.ancestor_id
        )
        select above.id from above where above.id = above.ancestor_id
    )
union all
select 'account', 'realm', t.realm_at, 'realm_of_device', t.realm, d.id::text, null, null
from account_after t
join device d on d.sip_realm::text = t.realm and d.account_id::text <> t.id
where t.state in ('created', 'updated')
    and not %(replace)s
    and not exists (select from import_device i where i.id = d.id::text)
