analyze import_account, import_owner
