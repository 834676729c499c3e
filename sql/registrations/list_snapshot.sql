-- The pages of one list are read as of one moment.
set transaction isolation level repeatable read, read only
