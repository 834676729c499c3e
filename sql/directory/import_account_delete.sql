-- Deletes their tokens, too.
delete from account a where not exists (select from account_after t where t.id = a.id::text)
