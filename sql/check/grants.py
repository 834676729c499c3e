"""What a check looks at of our roles: whether they are there, what they may, and whether they find our tables."""

from collections.abc import Iterator

from sql.connections.database import Connection
from sql.console.finding import Finding, Severity, stands
from sql.schema.migrate import MIGRATE_COMMAND
from sql.schema.own_objects import ROLES
from sql.schema.privileges import Lack, find_blind_roles, find_lacks, find_open_to_all, missing_roles
from sql.statements import statement

KAMAILIO_ROLE = "registrations_kamailio"
# Not for a Kamailio of the operator's own.
OF_OURS_ALONE = frozenset({"subscriber", "registration_from"})


def check_grants(connection: Connection) -> Iterator[Finding]:
    """Look at each role's privileges and search_path, whoever is connected; changes nothing."""
    found = [*_check_roles(connection)]
    yield from found
    yield from _check_kamailios_user(connection)
    for (login,) in connection.execute(statement("check_connection_limits"), {"roles": list(ROLES)}):
        yield Finding(
            "connections_unlimited",
            Severity.NOTE,
            f"{login}, a login for reports or imports, may hold every connection of PostgreSQL",
            "when none is left, Kamailio, API and worker cannot connect again after they lost theirs",
            f"alter role {login} connection limit 20",
        )
    if not found:
        yield stands("grants", f"roles and grants are there: {', '.join(sorted(ROLES))}")


def _check_roles(connection: Connection) -> Iterator[Finding]:
    missing = missing_roles(connection)
    if missing:
        yield Finding(
            "roles",
            Severity.FAULT,
            f"there is no role {', '.join(missing)}",
            "Kamailio, API, worker and reports each use one of these roles, or are a member of it",
            f"`{MIGRATE_COMMAND}` makes them; then give those that log in a password",
        )
    for role in sorted(set(ROLES) - set(missing)):
        if lacks := find_lacks(connection, role):
            yield Finding(
                "grants",
                Severity.FAULT,
                f"role {role} lacks privileges: {_listed(lacks)}",
                "it cannot log in, or what it does fails with `permission denied`",
                _cures(lacks),
            )
    if open_to_all := find_open_to_all(connection):
        yield Finding(
            "grants",
            Severity.FAULT,
            f"everybody may use {_listed(open_to_all)}",
            "any login could make itself a token or a directory, or read the secrets of others",
            _cures(open_to_all),
        )
    for each in find_blind_roles(connection):
        if each.chosen:
            severity, unless = Severity.NOTE if each.is_ours else Severity.WARNING, ", unless its URL names the schema"
        else:
            severity, unless = Severity.FAULT, ""
        yield Finding(
            "search_path", severity, f"{each}{unless}", "it finds no tables, or those of another Kamailio", each.cure
        )


def _check_kamailios_user(connection: Connection) -> Iterator[Finding]:
    """A member of our role, or the owner of the table, or one that kamdbctl made."""
    for user, cure in connection.execute(statement("check_kamailio_users"), {"roles": list(ROLES)}).fetchall():
        if lacks := find_lacks(connection, user, of=KAMAILIO_ROLE, but=OF_OURS_ALONE):
            what = f"role {user} lacks privileges: {_listed(lacks)}"
            yield Finding("grants_kamailio", Severity.FAULT, what, "REGISTERs cannot be written", cure)


def _listed(lacks: list[Lack]) -> str:
    return ", ".join(each.what for each in lacks)


def _cures(lacks: list[Lack]) -> str:
    return "; ".join(each.cure for each in lacks if each.cure) or f"restore what is missing, then `{MIGRATE_COMMAND}`"
