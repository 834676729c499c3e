"""In which schema a session with the owner's rights looks up names, and when that is refused."""

from collections.abc import Callable

from sql.connections.database import Connection
from sql.errors import SchemaRefused
from sql.statements import fetch_row, statement


def enter_schema(connection: Connection) -> None:
    """Look up names in the first schema of the session's search_path and in no other, in temporary tables last.

    Functions that are made from now on with ``set search_path from current`` do the same, whoever calls them.
    """
    connection.execute(statement("schema_enter"))


def refuse_planted(connection: Connection) -> None:
    """Refuse a schema in which another role could have this session run its code. Reads catalogs only.

    Args:
        connection: as the schema's owner, often a superuser.

    Raises:
        SchemaRefused: names what it finds, and the owner.
    """
    found = [f"{what} of role {owner}" for what, owner in connection.execute(statement("schema_planted"))]
    if found:
        raise SchemaRefused(
            f"this could run code of another role with your rights: {', '.join(found)}; "
            "drop that, and `revoke create on schema public from public`"
        )


def find_unfit_collations(connection: Connection, *, adopted: bool = False) -> list[str]:
    """Name the columns of Kamailio's tables that have a collation with which our views do not work.

    Args:
        connection: with the search_path of the schema.
        adopted: look after the first migration, too, and at usrloc's tables only.
    """
    columns = [column for (column,) in connection.execute(statement("migrate_collations"), {"adopted": adopted})]
    return columns and [
        f"the views need another collation of {', '.join(columns)}: alter each to its type with "
        'collate "default", which locks the table while its indexes are built anew'
    ]


def find_wrong_schema(connection: Connection, *, report: Callable[[str], None]) -> list[str]:
    """Say why no table may be made or changed where the search_path leads: usrloc's tables are elsewhere.

    Args:
        connection: with the search_path with which it was opened.
        report: called with one line when there is no table of usrloc's.
    """
    here, found, everywhere, nobody_chose, role, database = fetch_row(connection, "schema_of_location")
    if here is None:
        return [f"role {role} may use no schema of its search_path: grant usage, or set search_path"]
    if found is None and everywhere and nobody_chose:
        return [
            f"usrloc's table location is in schema {', '.join(everywhere)}, where this login does not look: "
            f"alter database {database} set search_path = {everywhere[0]}; or, if there is to be another in {here}, "
            f"alter database {database} set search_path = {here}"
        ]
    if found is None:
        others = f"; there is one in schema {', '.join(everywhere)}" if everywhere else ""
        report(
            f"database {database} has no table location in schema {here}: usrloc's tables are made there, as for a "
            f"new Kamailio{others}"
        )
    elif found != here:
        return [
            f"usrloc's table location is in schema {found}, but this login makes tables in {here}: "
            f"alter role {role} in database {database} set search_path = {found}; or, if there is to be another "
            f"location in {here}, leave {found} out of search_path"
        ]
    return []


def find_elsewhere(connection: Connection) -> str | None:
    """Where our tables are, and how this login would find them; None if it does, or there are none."""
    rows = connection.execute(statement("schema_elsewhere")).fetchall()
    return "; or ".join(f"schema {schema} has them ({cure})" for schema, cure in rows) or None
