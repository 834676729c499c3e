-- The registrations of one account between two ids, in any order. A refresh does not change the id, so pages join.
-- Each registration is one text with all values of the API's object: for thousands of rows columns would cost the most time.
select id::bigint as position, concat_ws(chr(31), {values}) as registration
from registrations
where account_id = %(account_id)s
    and id between %(lowest)s and %(highest)s{conditions}
