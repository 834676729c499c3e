"""Taking everything of ours out of a database again: Kamailio's tables stay with their rows, as kamdbctl made them."""

import re
from collections.abc import Callable, Set

import psycopg
from psycopg import sql

from sql.connections import Connection, connect
from sql.errors import SchemaRefused
from sql.migrate import any_migrations, in_a_gap, lock_out_others, refuse_what_is_not_ours_to_change
from sql.own_schema import BOOKKEEPING, EXPIRES_INDEX, OPTIONS, ROLES, OwnSchema, own_schema
from sql.schema_path import enter_schema
from sql.settings import DatabaseSettings
from sql.statements import statement
from sql.widening import WIDEN_COMMAND

UNINSTALL_COMMAND = "registrations-db uninstall"


def describe(settings: DatabaseSettings) -> list[str]:
    """Say what `uninstall` would take away, a line each; none when the database was never migrated, or is bare again.

    Raises:
        DatabaseUnreachable: PostgreSQL is away.
    """
    with connect(settings, application_name=UNINSTALL_COMMAND) as connection:
        if not any_migrations(connection):  # whose record goes last
            return []
        subscribers = _subscribers(connection)
    ours = own_schema()
    kinds: dict[str, list[str]] = {}
    for each in [*ours.objects, *subscribers]:
        kind, name = each.split(maxsplit=1)
        kinds.setdefault(kind, []).append(name.partition("(")[0])
    lines = [f"{kind}s, with all that is in them: {', '.join(dict.fromkeys(names))}" for kind, names in kinds.items()]
    lines += [f"columns of location: {', '.join(ours.columns)}", f"indexes: {', '.join(ours.indexes)}"]
    lines += [
        f"roles, unless something else needs them: {', '.join(ROLES)}",
        f"tables of yoyo: {', '.join(BOOKKEEPING)}",
    ]
    return [
        *lines,
        f"{EXPIRES_INDEX}, which Kamailio's schema has, is made again; rows of Kamailio's tables all stay",
    ]


def uninstall(settings: DatabaseSettings, *, report: Callable[[str], None] = lambda _: None) -> None:
    """Take everything of ours out; may be repeated, also after it was interrupted.

    Args:
        settings: which database.
        report: called with one line for each step, before it is taken.

    Raises:
        SchemaRefused: worker or API still run, something of the operator's uses what is ours, or a column is half
            widened; nothing was changed.
        DatabaseUnreachable: PostgreSQL is away.
    """
    ours = own_schema()
    with connect(settings, application_name=UNINSTALL_COMMAND, writes=True) as connection:
        lock_out_others(connection, report=report)
        refuse_what_is_not_ours_to_change(connection)
        enter_schema(connection)
        _refuse_while_used(connection)
        _refuse_half_widened(connection)

        def step(name: str, change: Callable[[], None]) -> None:
            report(name)
            in_a_gap(connection, change, name=name, report=report)

        of_location = {*ours.columns, *ours.triggers}
        step("views, tables and functions", lambda: _drop(connection, ours.objects, used_by=of_location))
        step("indexes, beside the running proxy", lambda: _mend_indexes(connection, ours))
        step("columns of location", lambda: _strip_location(connection, ours))
        step("what those used", lambda: _drop(connection, ours.objects))
        step("privileges and roles", lambda: _drop_roles(connection, report))
        step("record of the migrations", lambda: _drop(connection, [f"table {name}" for name in BOOKKEEPING]))


def _refuse_while_used(connection: Connection) -> None:
    names = [row[0] for row in connection.execute(statement("uninstall_sessions"))]
    if names:
        raise SchemaRefused(f"still connected: {', '.join(names)}; stop worker and API first")


def _refuse_half_widened(connection: Connection) -> None:
    tables = [row[0] for row in connection.execute(statement("uninstall_half_widened"))]
    if tables:
        commands = "; ".join(f"{WIDEN_COMMAND} id --table {table}" for table in tables)
        raise SchemaRefused(f"widening of id was interrupted, complete it first: {commands}")


def _drop(connection: Connection, objects: list[str], *, used_by: Set[str] = frozenset()) -> None:
    """Drop in whatever order works, without CASCADE, so that nothing goes that is not ours.

    Args:
        connection: in autocommit.
        objects: kind and name of each.
        used_by: columns and triggers of location; what these use may be left.
    """
    with connection.transaction():
        left = [*objects, *_subscribers(connection)]
        reasons: list[str] = []
        while left:
            reasons, before, left = [], left, []
            for each in before:
                try:
                    with connection.transaction():
                        connection.execute(_drop_command(each))
                except psycopg.errors.DependentObjectsStillExist as error:
                    left.append(each)
                    reasons += (error.diag.message_detail or "").splitlines()
            if len(left) == len(before):
                break
        names = {each.partition(" ")[2].partition("(")[0] for each in left}
        foreign = [reason for reason in reasons if not _is_between_ours(reason, names, used_by)]
        if foreign or (left and not used_by):
            raise SchemaRefused(
                "something that is not ours is in the way: " + "; ".join(dict.fromkeys(foreign or reasons))
            )


def _subscribers(connection: Connection) -> list[str]:
    """Ours only: on a database of kamdbctl the table subscriber is Kamailio's."""
    return [row[0] for row in connection.execute(statement("uninstall_subscriber"))]


def _is_between_ours(reason: str, names: Set[str], used_by: Set[str]) -> bool:
    """Whether "view x depends on table y" is about two of ours; only the names are the same in every language."""
    words = set(re.findall(r"\w+", reason, re.ASCII))
    return len(words & names) > 1 or ("location" in words and bool(words & used_by))


def _drop_command(each: str) -> bytes:
    kind, _, name = each.partition(" ")
    return f"drop {kind} if exists {name}".encode()


def _mend_indexes(connection: Connection, ours: OwnSchema) -> None:
    connection.execute(statement("session_patience"))
    for name in [*ours.indexes, EXPIRES_INDEX]:
        connection.execute(sql.SQL("drop index concurrently if exists {}").format(sql.Identifier(name)))
    connection.execute(statement("uninstall_expires_index"))


def _strip_location(connection: Connection, ours: OwnSchema) -> None:
    changes: list[sql.Composable] = [sql.SQL(f"reset ({', '.join(OPTIONS)})")]
    changes += [sql.SQL("drop column if exists {}").format(sql.Identifier(name)) for name in ours.columns]
    with connection.transaction():
        connection.execute(statement("uninstall_versions"))
        for name in ours.triggers:
            connection.execute(sql.SQL("drop trigger if exists {} on location").format(sql.Identifier(name)))
        connection.execute(sql.SQL("alter table location {}").format(sql.SQL(", ").join(changes)))


def _drop_roles(connection: Connection, report: Callable[[str], None]) -> None:
    for role in ROLES:
        row = connection.execute(statement("uninstall_role"), {"role": role}).fetchone()
        if not row or not row[0]:
            continue
        database, schema = (sql.Identifier(name) for name in row[1:])
        with connection.transaction():
            for what in (
                sql.SQL("all tables in schema {}").format(schema),
                sql.SQL("all sequences in schema {}").format(schema),
                sql.SQL("schema {}").format(schema),
                sql.SQL("database {}").format(database),
            ):
                connection.execute(sql.SQL("revoke all on {} from {}").format(what, sql.Identifier(role)))
        try:
            connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))
        except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.InsufficientPrivilege) as error:
            report(f"role {role} stays: {error.diag.message_detail or error.diag.message_primary}")
