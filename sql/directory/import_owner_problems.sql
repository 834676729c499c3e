-- Conflicts of owners, as in import_account_problems.
select 'owner' as kind, 'id' as field, i.at, '{value} is given twice{where}' as message, i.id as value,
    null as other, 'owner' as other_kind, first.at as other_at
from import_owner i
join (select id, min(at) as at from import_owner group by id having count(*) > 1) first on first.id = i.id
where i.at <> first.at
union all
select 'owner', 'account_id', t.at, 'there is no account {value}', t.account_id, null, null, null
from owner_after t
where t.state <> 'untouched' and not exists (select from account_after a where a.id = t.account_id)
union all
select 'owner', 'account_id', t.at,
    'device {other} belongs to {value}; it must move to this account in the same import', t.id, d.id::text, null, null
from owner_after t
join device d on d.owner_id::text = t.id
where t.state = 'updated'
    and t.account_id <> t.account_id_before
    and not %(replace)s
    and not exists (select from import_device i where i.id = d.id::text)
