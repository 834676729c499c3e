"""Where a session with the rights of the schema's owner looks names up, and what in a schema it refuses to meet."""

from sql.connections import Connection
from sql.errors import SchemaRefused
from sql.statements import statement


def enter_schema(connection: Connection) -> None:
    """Look names up in the first schema of the session's search_path and in no other, in temporary tables last.

    Functions that are made from now on by ``set search_path from current`` do the same, whoever calls them.
    """
    connection.execute(statement("session_schema"))


def refuse_planted(connection: Connection) -> None:
    """Refuse to go on where another role could have this session run its code. Reads catalogs only.

    Args:
        connection: as the schema's owner, often a superuser.

    Raises:
        SchemaRefused: names what is there, and whose it is.
    """
    found = [f"{what} of role {owner}" for what, owner in connection.execute(statement("schema_planted"))]
    if found:
        raise SchemaRefused(
            f"this could run code of another role with your rights: {', '.join(found)}; "
            "drop that, and `revoke create on schema public from public`"
        )


def refuse_collations(connection: Connection) -> None:
    """Refuse collations of Kamailio's columns that our views cannot have, before the first migration.

    Raises:
        SchemaRefused: names the columns, and what to do.
    """
    columns = [column for (column,) in connection.execute(statement("migrate_collations"))]
    if columns:
        raise SchemaRefused(
            f"the views need another collation of {', '.join(columns)}: alter each to its type with "
            'collate "default", which locks the table while its indexes are built anew'
        )
