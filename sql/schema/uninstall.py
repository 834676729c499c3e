"""Taking everything of ours out of a database again: Kamailio's tables stay with their rows, as kamdbctl made them."""

import re
from collections.abc import Callable, Set

import psycopg
from psycopg import sql

from sql.connections.database import Connection, connect
from sql.connections.lock_waits import in_a_gap, lock_out_others
from sql.errors import SchemaRefused
from sql.kamailio_tables.widening import WIDEN_COMMAND
from sql.schema.migrate import any_migrations, refuse_what_is_not_ours_to_change
from sql.schema.own_objects import BOOKKEEPING, EXPIRES_INDEX, OPTIONS, ROLES, OwnSchema, own_schema
from sql.schema.search_path import enter_schema
from sql.schema.trial import FAILS, phones_still_register
from sql.settings import DatabaseSettings
from sql.statements import statement

UNINSTALL_COMMAND = "registrations-db uninstall"


def describe(settings: DatabaseSettings, *, report: Callable[[str], None] = lambda _: None) -> list[str]:
    """Say what `uninstall` would take away, a line each; none when the database was never migrated, or is bare again.

    It is tried and taken back, so that what is in the way is known.

    Args:
        settings: which database.
        report: called with a line for what is waited for.

    Raises:
        DatabaseUnreachable: PostgreSQL is away.
    """
    ours = own_schema()
    with connect(settings, application_name=UNINSTALL_COMMAND) as connection:
        if not any_migrations(connection):
            return []
        lock_out_others(connection, report=report)
        subscribers, in_the_way = _subscribers(connection), _attached(connection, ours)
        rows = connection.execute(
            statement("uninstall_grantees"), {"relations": _relations(ours, subscribers)}
        ).fetchall()
        enter_schema(connection)
        try:
            _look_first(connection, ours, report=report)
        except SchemaRefused as error:
            in_the_way.append(str(error))
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
    if rows:
        lines.append(f"with the tables, what these may there: {', '.join(row[0] for row in rows)}")
    if in_the_way:
        lines.append(f"in the way, so --yes would refuse: {'; '.join(in_the_way)}")
    return [
        *lines,
        f"{EXPIRES_INDEX}, which Kamailio's schema has, is made again; rows of Kamailio's tables all stay",
    ]


def uninstall(settings: DatabaseSettings, *, report: Callable[[str], None] = lambda _: None) -> None:
    """Take everything of ours out; may be repeated, also after it was interrupted.

    It goes in one transaction, which is tried and taken back before anything is changed.

    Args:
        settings: which database.
        report: called with one line for each step, before it is taken.

    Raises:
        SchemaRefused: worker or API still run, something of the operator's uses what is ours, phones could not register
            without our columns, or a column is half widened; nothing was changed.
        DatabaseUnreachable: PostgreSQL is away.
    """
    ours = own_schema()
    with connect(settings, application_name=UNINSTALL_COMMAND, writes=True) as connection:
        lock_out_others(connection, report=report)
        refuse_what_is_not_ours_to_change(connection)
        enter_schema(connection)
        _refuse_while_used(connection)
        _refuse_half_widened(connection)
        if attached := _attached(connection, ours):
            raise SchemaRefused(f"would be lost with what is ours: {'; '.join(attached)}; drop it first")

        def step(name: str, change: Callable[[], None]) -> None:
            report(name)
            in_a_gap(connection, change, name=name, report=report)

        _look_first(connection, ours, report=report)
        step("index on expires, beside the running proxy", lambda: _make_expires_index(connection))
        step("everything that is ours, columns of location last", lambda: _take_out(connection, ours, report=report))


def _refuse_while_used(connection: Connection) -> None:
    names = [row[0] for row in connection.execute(statement("uninstall_sessions"))]
    if names:
        raise SchemaRefused(f"still connected: {', '.join(names)}; stop worker and API first")


def _refuse_half_widened(connection: Connection) -> None:
    tables = [row[0] for row in connection.execute(statement("uninstall_half_widened"))]
    if tables:
        commands = "; ".join(f"{WIDEN_COMMAND} id --table {table}" for table in tables)
        raise SchemaRefused(f"widening of id was interrupted, complete it first: {commands}")


def _attached(connection: Connection, ours: OwnSchema) -> list[str]:
    """What hangs on ours, is not ours, and would go with it without a word from PostgreSQL."""
    values = {
        "relations": _relations(ours, _subscribers(connection)),
        "functions": [
            each.partition(" ")[2].partition("(")[0] for each in ours.objects if each.startswith("function ")
        ],
        "columns": ours.columns,
        "indexes": ours.indexes,
    }
    return [row[0] for row in connection.execute(statement("uninstall_attached"), values)]


def _relations(ours: OwnSchema, subscribers: list[str]) -> list[str]:
    named = [each.partition(" ") for each in [*ours.objects, *subscribers]]
    return [name for kind, _, name in named if kind in ("table", "view")]


def _look_first(connection: Connection, ours: OwnSchema, *, report: Callable[[str], None]) -> None:
    def take_out_and_back() -> None:
        with connection.transaction(force_rollback=True):
            _take_out(connection, ours)

    name = "looking for what is in the way"
    report(name)
    in_a_gap(connection, take_out_and_back, name=name, report=report)


def _take_out(connection: Connection, ours: OwnSchema, *, report: Callable[[str], None] = lambda _: None) -> None:
    """Drop everything, the columns of location at the end: from there on phones wait.

    Raises:
        SchemaRefused: something that is not ours is in the way; or phones could register, and could not any more.
    """
    objects = [*ours.objects, *_subscribers(connection), *(f"table {name}" for name in BOOKKEEPING)]
    with connection.transaction(), phones_still_register(connection, f"without our columns of location {FAILS}"):
        left, reasons = _drop(connection, objects)
        names = _names(left) | set(ours.table_indexes)
        foreign = [each for each in reasons if not _is_between_ours(each, names, {*ours.columns, *ours.triggers})]
        _drop_roles(connection, report)
        reasons = _strip_location(connection, ours)
        foreign += [each for each in reasons if not _words(each) & _names(left)]
        left, more = _drop(connection, left)
        if left or reasons:
            found = dict.fromkeys(foreign or [*reasons, *more])
            raise SchemaRefused(f"something that is not ours is in the way: {'; '.join(found)}")
        connection.execute(statement("uninstall_versions"))


def _drop(connection: Connection, objects: list[str]) -> tuple[list[str], list[str]]:
    """Drop in whatever order works, without CASCADE, so that nothing goes that is not ours.

    Args:
        connection: within a transaction.
        objects: kind and name of each.

    Returns:
        Those that something else uses, and PostgreSQL's lines on what uses them.
    """
    left = list(objects)
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
            return left, reasons
    return [], []


def _subscribers(connection: Connection) -> list[str]:
    """Ours only: on a database of kamdbctl the table subscriber is Kamailio's."""
    return [row[0] for row in connection.execute(statement("uninstall_subscriber"))]


def _is_between_ours(reason: str, names: Set[str], used_by: Set[str]) -> bool:
    """Whether "view x depends on table y" is about two of ours; only the names are the same in every language."""
    words = _words(reason)
    return len(words & names) > 1 or ("location" in words and bool(words & used_by))


def _words(reason: str) -> set[str]:
    return set(re.findall(r"\w+", reason, re.ASCII))


def _names(objects: list[str]) -> set[str]:
    return {each.partition(" ")[2].partition("(")[0] for each in objects}


def _drop_command(each: str) -> bytes:
    kind, _, name = each.partition(" ")
    return f"drop {kind} if exists {name}".encode()


def _make_expires_index(connection: Connection) -> None:
    connection.execute(statement("session_patience"))
    connection.execute(sql.SQL("drop index concurrently if exists {}").format(sql.Identifier(EXPIRES_INDEX)))
    connection.execute(statement("uninstall_expires_index"))


def _strip_location(connection: Connection, ours: OwnSchema) -> list[str]:
    """Give location back as it was; or else PostgreSQL's lines on what uses our columns."""
    changes: list[sql.Composable] = [sql.SQL(f"reset ({', '.join(OPTIONS)})")]
    changes += [sql.SQL("drop column if exists {}").format(sql.Identifier(name)) for name in ours.columns]
    try:
        with connection.transaction():
            for name in ours.indexes:
                connection.execute(sql.SQL("drop index if exists {}").format(sql.Identifier(name)))
            for name in ours.triggers:
                connection.execute(sql.SQL("drop trigger if exists {} on location").format(sql.Identifier(name)))
            connection.execute(sql.SQL("alter table location {}").format(sql.SQL(", ").join(changes)))
    except psycopg.errors.DependentObjectsStillExist as error:
        return (error.diag.message_detail or str(error)).splitlines()
    return []


def _drop_roles(connection: Connection, report: Callable[[str], None]) -> None:
    for role in ROLES:
        row = connection.execute(statement("uninstall_role"), {"role": role}).fetchone()
        if not row or not row[0]:
            continue
        database, schema = (sql.Identifier(name) for name in row[1:])
        name = sql.Identifier(role)
        revoked = (
            sql.SQL("all tables in schema {}").format(schema),
            sql.SQL("all sequences in schema {}").format(schema),
            sql.SQL("schema {}").format(schema),
            sql.SQL("database {}").format(database),
        )
        why = None
        for command in (
            *(sql.SQL("revoke all on {} from {}").format(what, name) for what in revoked),
            sql.SQL("drop role {}").format(name),
        ):
            try:
                with connection.transaction():
                    connection.execute(command)
            except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.InsufficientPrivilege) as error:
                why = why or error.diag.message_detail or error.diag.message_primary
        if why:
            report(f"role {role} stays: {why}")
