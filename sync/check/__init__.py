"""`registrations-sync check`: database, worker and nodes."""
