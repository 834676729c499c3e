-- The registrations of one account that have these ids, in any order; pages join although phones refresh between them.
-- Each as one text of all that the API's object has: a list of thousands would spend most of its time on columns.
select id as position, concat_ws(chr(31), concat({nulls}), {values}) as registration
from registrations
where account_id = %(account_id)s
    and id = any (%(ids)s::int[]){conditions}
