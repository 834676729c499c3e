"""What `check` asks the database."""
