copy import_account from stdin
