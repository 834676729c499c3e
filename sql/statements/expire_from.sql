-- Third-party From facts of bindings that are gone. A day's grace: in db_mode 2 the fact is here before its row.
delete from registration_from f
where f.updated_at < now() - interval '1 day'
    and not exists (select from location l where l.ruid = f.ruid)
