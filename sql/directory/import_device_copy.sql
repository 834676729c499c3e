copy import_device from stdin
