-- Which rows a page without conditions has: found in the order of the index, so that the first page of an account of a
-- million costs what that of one of fifty does. The view cannot do that, it joins before it sorts.
-- Both columns of the index are compared as a pair and sorted by: "account_id = ... order by id" would let the planner
-- read the whole table in the order of its primary key, where it takes the account for a large part of it.
select p.id
from (
    (
        select l.id
        from location l
        where (l.account_id, l.id) {bound} (%(account_id)s, %(start)s::bigint)
            and l.account_id {other_bound} %(account_id)s
            and l.enriched_at is not null
            and registration_shows(
                registration_epoch(l.expires), registration_epoch(l.last_modified), l.cseq, l.flushed_epoch,
                l.flushed_cseq
            )
        order by l.account_id {direction}, l.id {direction}
        limit %(limit)s::bigint
    )
    union all
    (
        select l.id
        from location l
        join location_directory e on e.id = l.id
        where e.account_id = %(account_id)s
            and l.enriched_at is null
            and l.id {bound} %(start)s::bigint
            and registration_shows(
                registration_epoch(l.expires), registration_epoch(l.last_modified), l.cseq, l.flushed_epoch,
                l.flushed_cseq
            )
        order by l.id {direction}
        limit %(limit)s::bigint
    )
) p
order by p.id {direction}
limit %(limit)s::bigint
