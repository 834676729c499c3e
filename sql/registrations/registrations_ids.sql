-- The ids of an account's rows, from which the pages are cut. Includes hidden and expired rows, so that the index alone is
-- enough. It reads in the order of the index, so the first page of an account of a million costs as much as that of an
-- account of fifty. The view joins before it sorts, so it cannot do that.
-- Compares and sorts by both columns of the index: with "account_id = ... order by id" the planner would read the whole
-- table in the order of its primary key if it took the account for a large part of the table.
select p.id::bigint
from (
    (
        select l.id
        from location l
        where (l.account_id, l.id) {bound} (%(account_id)s, %(start)s::bigint)
            and l.account_id {other_bound} %(account_id)s
        order by l.account_id {direction}, l.id {direction}
        limit %(limit)s::bigint
    )
    union all
    (
        select e.id
        from location_directory e
        where e.account_id = %(account_id)s
            and e.enriched_at is null
            and e.id {bound} %(start)s::bigint
        order by e.id {direction}
        limit %(limit)s::bigint
    )
) p
order by p.id {direction}
limit %(limit)s::bigint
