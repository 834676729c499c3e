"""Our roles: that they exist, have their privileges, and find our tables by their search_path.

A dump contains no roles and no settings of its database, and with --no-acl no privileges either.
"""

from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from sql.connections.database import Connection
from sql.errors import SchemaRefused
from sql.schema.own_objects import ROLES, expected_grants, own_schema
from sql.statements import statement

PUBLIC = "public"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """Something that a role needs and lacks.

    Attributes:
        what: for a message, such as ``location (owner_id): update``.
        remedy: the SQL commands that give it; None when there is no such table or function.
    """

    what: str
    remedy: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Blind:
    """A role whose sessions do not find our tables.

    Attributes:
        role: its name.
        schema: where our tables are.
        found: the schema in which it would find tables of these names instead; None: in none.
        is_ours: whether our migrations were applied to that one, too.
        chosen: whether this session has its search_path from its URL, as those of the role may have.
        remedy: the SQL command after which it finds them.
    """

    role: str
    schema: str
    found: str | None
    is_ours: bool
    chosen: bool
    remedy: str

    def __str__(self) -> str:
        instead = f"looks into schema {self.found} first" if self.found else "does not look there"
        return f"our tables are in schema {self.schema}, and role {self.role} {instead}"


def make_roles(connection: Connection, report: Callable[[str], None]) -> None:
    """Make those of our roles that the server lacks; needs CREATEROLE only if there are any."""
    before = missing_roles(connection)
    if before:
        connection.execute(statement("roles_make"))
        report(f"roles made: {', '.join(before)}; none can log in before it has a password")


def missing_roles(connection: Connection) -> list[str]:
    """Those of our roles that the server lacks."""
    rows = connection.execute("select name from unnest(%s::text[]) name where to_regrole(name) is null", (list(ROLES),))
    return [row[0] for row in rows]


def find_lacks(connection: Connection, role: str, *, of: str | None = None, but: Set[str] = frozenset()) -> list[Lack]:
    """Compare the privileges of a role with what one of ours needs.

    Args:
        connection: whose search_path finds our tables.
        role: one that exists.
        of: the role of ours whose privileges it needs; itself when left out.
        but: tables that it does not need.
    """
    grants = [grant for grant in expected_grants() if grant.role == (of or role) and grant.object not in but]
    values = {
        "role": role,
        "kinds": [grant.kind for grant in grants],
        "objects": [grant.object for grant in grants],
        "parts": [grant.part or None for grant in grants],
        "privileges": [grant.privilege for grant in grants],
        "open_functions": [] if of else _function_names(),
    }
    return _lacks(connection, "grants_lacking", values)


def find_open_to_all(connection: Connection) -> list[Lack]:
    """Functions with their owner's rights, and tables with secrets, that PUBLIC may use."""
    grants = [grant for grant in expected_grants() if grant.kind == "function"]
    values = {
        "names": _function_names(),
        "objects": [grant.object for grant in grants],
        "roles": [grant.role for grant in grants],
    }
    return _lacks(connection, "grants_open_to_all", values)


def restore_privileges(connection: Connection, report: Callable[[str], None]) -> list[str]:
    """Give each role what it lacks, and take from PUBLIC what a restore gave it.

    Args:
        connection: in autocommit mode, of who owns the tables.
        report: called with a line for each role that gets something.

    Returns:
        The commands that this login may not execute, for who may.
    """
    left: list[str] = []
    for role in (PUBLIC, *ROLES):  # PUBLIC first: a role may have had a privilege through it alone
        lacks = _lacks_of(connection, role)
        for lack in lacks:
            # GRANT fails, or only warns, depending on other privileges. So the result is looked at afterwards.
            with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute((lack.remedy or "").encode())
        still = _lacks_of(connection, role) if lacks else []
        left += [lack.remedy or lack.what for lack in still]
        if len(still) < len(lacks):
            done = "taken from everybody" if role == PUBLIC else f"given to {role}"
            report(f"{len(lacks) - len(still)} privilege(s) {done}")
    return left


def find_refused_entry(connection: Connection) -> list[str]:
    """The commands that let our roles into database and schema, and that this login may not execute.

    Args:
        connection: whose first schema has our tables, or will have them; the roles need not exist.
    """
    grants = [grant for grant in expected_grants() if not grant.object]
    values = {
        "roles": [grant.role for grant in grants],
        "kinds": [grant.kind for grant in grants],
        "privileges": [grant.privilege for grant in grants],
    }
    return [row[0] for row in connection.execute(statement("grants_refused"), values)]


def complete_roles(connection: Connection, report: Callable[[str], None]) -> None:
    """Give our roles what they lack once the schema is current, and check that they find it.

    Raises:
        SchemaRefused: names what this login may not give, or who does not find our tables, with the commands to run.
    """
    left = restore_privileges(connection, report)
    blind = find_blind_roles(connection)
    for each in blind:
        if each.chosen:
            report(f"{each}, unless its URL names the schema, as yours does: {each.remedy}")
    problems = []
    if left:
        problems.append(
            f"this login could not do all that our roles need; as who may, often postgres: {'; '.join(left)}"
        )
    if wrong := [each for each in blind if not each.chosen]:
        problems.append(f"{'; '.join(map(str, wrong))}: {'; '.join(each.remedy for each in wrong)}")
    if problems:
        raise SchemaRefused(f"the tables are made, but {'. And '.join(problems)}. Then migrate again")


def _lacks_of(connection: Connection, role: str) -> list[Lack]:
    return find_open_to_all(connection) if role == PUBLIC else find_lacks(connection, role)


def find_blind_roles(connection: Connection) -> list[Blind]:
    """Which of our roles would not find our tables with the search_path of a new session.

    Args:
        connection: in autocommit mode; its first schema has our tables, or will have them.
    """
    chosen = "search_path" in connection.info.get_parameters().get("options", "")
    blind = []
    paths = connection.execute(statement("role_paths"), {"roles": list(ROLES), "by_url": chosen}).fetchall()
    for role, path, schema, remedy in paths:
        names = [grant.object for grant in expected_grants() if grant.role == role and grant.kind == "table"]
        with connection.transaction():
            connection.execute("select set_config('search_path', %s, true)", (path,))
            values = {"role": role, "ours": schema, "names": names}
            row = connection.execute(statement("role_path_leads"), values).fetchone()
        found, is_ours = row or (None, False)
        if found != schema:
            blind.append(Blind(role=role, schema=schema, found=found, is_ours=is_ours, chosen=chosen, remedy=remedy))
    return blind


def _function_names() -> list[str]:
    return sorted({each.partition("(")[0] for each in own_schema().functions})


def _lacks(connection: Connection, name: str, values: Mapping[str, object]) -> list[Lack]:
    return [Lack(what=what, remedy=remedy) for what, remedy in connection.execute(statement(name), values)]
