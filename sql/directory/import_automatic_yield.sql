-- Deletes accounts that were made of domains if the files have another account with their realm.
delete from account a using import_account i where a.automatic and a.realm::text = i.realm and a.id::text <> i.id
