-- One registration, column by column: for the rare text that contains the separator.
select {values}
from registrations
where id = %(id)s
