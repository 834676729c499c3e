-- All pages of a list come from one snapshot.
set transaction isolation level repeatable read, read only
