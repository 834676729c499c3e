-- The registrations of one account between two ids, in any order; pages join although phones refresh between them.
-- Each as one text of all that the API's object has: a list of thousands would spend most of its time on columns.
select id::bigint as position, concat_ws(chr(31), {values}) as registration
from registrations
where account_id = %(account_id)s
    and id between %(lowest)s and %(highest)s{conditions}
