-- Where pages begin and end: the rows of an account, those that do not show as well, so that an index alone can tell.
-- Found in its order, so that the first page of an account of a million costs what that of one of fifty does. The view
-- cannot do that, it joins before it sorts.
-- Both columns of the index are compared as a pair and sorted by: "account_id = ... order by id" would let the planner
-- read the whole table in the order of its primary key, where it takes the account for a large part of it.
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
