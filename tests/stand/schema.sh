#!/bin/sh
# The schema of a migrated database as text that depends on nothing but the schema: sql/schema.sql.
set -eu
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
echo "-- What the migrations make of an empty database. Written by \`make schema\`; a test compares it."
"${bin:+$bin/}pg_dump" --schema-only --no-owner --no-privileges --no-comments --exclude-table='*yoyo*' "$1" |
    sed -e '/^--/d' -e '/^SET /d' -e '/^SELECT pg_catalog/d' -e '/^\\/d' | cat -s
