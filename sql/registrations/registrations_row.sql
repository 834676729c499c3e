-- One registration, column by column: for the rare text that holds the character that is put between texts.
select {values}
from registrations
where id = %(id)s
