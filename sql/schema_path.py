"""Where a session with the rights of the schema's owner looks names up, and what another role may have put there."""

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
