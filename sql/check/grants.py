"""Checks of our roles: whether they exist, have their privileges, and find our tables."""

from collections.abc import Iterator

from sql.connections.database import Connection
from sql.console.finding import Finding, Severity, passed
from sql.schema.own_objects import ROLES
from sql.schema.privileges import Lack, find_blind_roles, find_lacks, find_open_to_all, missing_roles
from sql.schema.record import MIGRATE_COMMAND
from sql.statements import statement

KAMAILIO_ROLE = "registrations_kamailio"
# A Kamailio with the operator's own users does not need these.
OF_OURS_ALONE = frozenset({"subscriber"})


def check_grants(connection: Connection) -> Iterator[Finding]:
    """Check the privileges and the search_path of each role, whichever role is connected. Changes nothing."""
    found = [*_check_roles(connection)]
    yield from found
    yield from _check_kamailios_user(connection)
    for (login,) in connection.execute(statement("check_connection_limits"), {"roles": list(ROLES)}):
        yield Finding(
            "connections_unlimited",
            Severity.NOTE,
            f"{login}, a login for reports or imports, may use every connection of PostgreSQL",
            "if none is left, Kamailio, the API and the worker cannot reconnect after they lose theirs",
            f"alter role {login} connection limit 20",
        )
    if not found:
        yield passed("grants", f"roles and grants are complete: {', '.join(sorted(ROLES))}")


def _check_roles(connection: Connection) -> Iterator[Finding]:
    missing = missing_roles(connection)
    if missing:
        yield Finding(
            "roles",
            Severity.FAULT,
            f"there is no role {', '.join(missing)}",
            "Kamailio, the API, the worker and reports each log in as one of these roles, or as a member of one",
            f"run `{MIGRATE_COMMAND}`, which creates them; then set a password for those that log in",
        )
    for role in sorted(set(ROLES) - set(missing)):
        if lacks := find_lacks(connection, role):
            yield Finding(
                "grants",
                Severity.FAULT,
                f"role {role} lacks privileges: {_listed(lacks)}",
                "it cannot log in, or its statements fail with `permission denied`",
                _remedies(lacks),
            )
    if open_to_all := find_open_to_all(connection):
        yield Finding(
            "grants",
            Severity.FAULT,
            f"everybody may use {_listed(open_to_all)}",
            "any login could create a token or a directory for itself, or read the secrets of others",
            _remedies(open_to_all),
        )
    for each in find_blind_roles(connection):
        if each.chosen:
            severity, unless = Severity.NOTE if each.is_ours else Severity.WARNING, ", unless its URL names the schema"
        else:
            severity, unless = Severity.FAULT, ""
        yield Finding(
            "search_path", severity, f"{each}{unless}", "it finds no tables, or those of another Kamailio", each.remedy
        )


def _check_kamailios_user(connection: Connection) -> Iterator[Finding]:
    """Kamailio may log in as a member of our role, as the owner of the table, or as a role that kamdbctl created."""
    for user, remedy in connection.execute(statement("check_kamailio_users"), {"roles": list(ROLES)}).fetchall():
        if lacks := find_lacks(connection, user, of=KAMAILIO_ROLE, but=OF_OURS_ALONE):
            what = f"role {user} lacks privileges: {_listed(lacks)}"
            yield Finding("grants_kamailio", Severity.FAULT, what, "Kamailio cannot write REGISTERs", remedy)


def _listed(lacks: list[Lack]) -> str:
    return ", ".join(each.what for each in lacks)


def _remedies(lacks: list[Lack]) -> str:
    return (
        "; ".join(each.remedy for each in lacks if each.remedy) or f"restore what is missing, then `{MIGRATE_COMMAND}`"
    )
