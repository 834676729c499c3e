"""The schema and its life: migrations, what they change, privileges, uninstall."""
