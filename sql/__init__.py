"""POSTGRESQL: schema, migrations, views and every statement; the only room that imports psycopg."""
