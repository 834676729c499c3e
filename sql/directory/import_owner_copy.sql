copy import_owner from stdin
