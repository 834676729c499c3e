select to_regrole(%(role)s) is not null, current_database()::text, current_schema()::text
