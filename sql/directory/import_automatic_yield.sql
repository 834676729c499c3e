-- An account that was made of a domain makes room for the one of the files that has its realm.
delete from account a using import_account i where a.automatic and a.realm::text = i.realm and a.id::text <> i.id
