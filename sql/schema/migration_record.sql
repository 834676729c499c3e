insert into registrations_migration (name) values ({name})
