-- Conflicts between accounts: the row and field, and a message in which {value} and {other} are filled in, and {where}, which
-- is the place of the other row in a file.
select 'account' as kind, 'id' as field, i.at, '{value} is given twice{where}' as message, i.id as value,
    null as other, 'account' as other_kind, first.at as other_at
from import_account i
join (select id, min(at) as at from import_account group by id having count(*) > 1) first on first.id = i.id
where i.at <> first.at
union all
select 'account', 'realm', t.at, '{value} is the realm of account {other}, too{where}', t.realm, t.first_id, 'account',
    t.first_at
from (
    select
        id, realm, at,
        first_value(id) over the_realm as first_id,
        first_value(at) over the_realm as first_at
    from account_after
    window the_realm as (partition by realm order by state = 'untouched' desc, at)
) t
where t.id <> t.first_id and t.realm <> ''
union all
select 'account', 'api_key', t.at, 'account {other} has the same{where}', null, t.first_id, 'account', t.first_at
from (
    select
        id, at,
        first_value(id) over the_key as first_id,
        first_value(at) over the_key as first_at
    from account_after
    where api_key_hash is not null
    -- An account that keeps its key comes first.
    window the_key as (partition by api_key_hash order by gives_api_key, at nulls first)
) t
where t.id <> t.first_id
union all
select 'account', 'parent_id', t.at, 'there is no account {value}', t.parent_id, null, null, null
from account_after t
where t.state <> 'untouched'
    and t.parent_id is not null
    and not exists (select from account_after p where p.id = t.parent_id)
union all
select 'account', given.field, t.at,
    'role {other} may not change this of account {value}: import it once as the owner of the table account, or leave it out',
    t.id, current_user::text, null, null
from account_after t
cross join lateral (values ('superduper_admin', t.gives_superduper_admin), ('api_key', t.gives_api_key)) given (field, changes)
where given.changes and not %(may_give_rights)s
union all
-- An account that cannot be reached from the top is in a circle or below one. Only these are walked up.
select 'account', 'parent_id', t.at, 'account {value} would be its own ancestor', t.id, null, null, null
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
select 'account', 'realm', t.at, '{value} is the sip_realm of device {other}, which is another account''s', t.realm,
    d.id::text, null, null
from account_after t
join device d on d.sip_realm::text = t.realm and d.account_id::text <> t.id
where t.state in ('created', 'updated')
    and not %(replace)s
    and not exists (select from import_device i where i.id = d.id::text)
