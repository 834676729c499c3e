"""Taking everything of ours out of a database again: Kamailio's tables stay with their rows, as kamdbctl made them."""

from collections.abc import Callable, Sequence
from time import sleep

import psycopg
from psycopg import sql

from sql.connections.database import Connection, connect
from sql.connections.lock_waits import in_a_gap, lock_out_others
from sql.errors import SchemaRefused
from sql.schema.obstacles import refuse_unfit, refuse_unrecorded
from sql.schema.own_objects import EXPIRES_INDEX, OPTIONS, ROLES, TRIGGER_OF_SUBSCRIBER, own_schema
from sql.schema.record import applied_migrations
from sql.schema.search_path import enter_schema
from sql.schema.trial import FAILS, phones_still_register
from sql.settings import DatabaseSettings
from sql.statements import fetch_row, statement

UNINSTALL_COMMAND = "registrations-db uninstall"
LOOKS = 20


def describe(settings: DatabaseSettings, *, report: Callable[[str], None] = lambda _: None) -> list[str]:
    """Say what `uninstall` would take away, a line each; none when the database was never migrated, or is bare again.

    It is tried and rolled back, so that obstacles are known.

    Args:
        settings: which database.
        report: called with a line for what is waited for.

    Raises:
        SchemaRefused: there is no record of what is ours.
        DatabaseUnreachable: PostgreSQL is away.
    """
    ours = own_schema()
    with connect(settings, application_name=UNINSTALL_COMMAND) as connection:
        refuse_unrecorded(connection)
        if not applied_migrations(connection):
            return []
        lock_out_others(connection, report=report)
        objects, in_the_way = _objects(connection), _attached(connection)
        values = {"relations": [*objects["view"], *objects["table"]]}
        grantees = [row[0] for row in connection.execute(statement("uninstall_grantees"), values)]
        enter_schema(connection)
        try:
            _look_first(connection, report=report)
        except SchemaRefused as error:
            in_the_way.append(str(error))
    lines = []
    for kind, names in objects.items():
        bare = dict.fromkeys(name.partition("(")[0] for name in names)
        lines.append(f"{kind}s, with all that is in them: {', '.join(bare)}")
    lines += [f"columns of location: {', '.join(ours.columns)}", f"indexes: {', '.join(ours.indexes)}"]
    lines.append(f"trigger of subscriber: {TRIGGER_OF_SUBSCRIBER}")
    lines.append(f"roles, unless something else needs them: {', '.join(ROLES)}")
    if grantees:
        lines.append(f"with the tables, what these may there: {', '.join(grantees)}")
    if in_the_way:
        lines.append(f"in the way, so --yes would refuse: {'; '.join(in_the_way)}")
    lines.append(f"{EXPIRES_INDEX}, which Kamailio's schema has, is made again; rows of Kamailio's tables all stay")
    return lines


def uninstall(settings: DatabaseSettings, *, report: Callable[[str], None] = lambda _: None) -> None:
    """Take everything of ours out; may be repeated, also after it was interrupted.

    It is one transaction, which is tried and rolled back before anything is changed.

    Args:
        settings: which database.
        report: called with one line for each step, before it is taken.

    Raises:
        SchemaRefused: worker or API still run, something of the operator's uses what is ours, phones could not register
            without our columns, or a column is half widened; nothing was changed.
        DatabaseUnreachable: PostgreSQL is away.
    """
    with connect(settings, application_name=UNINSTALL_COMMAND, writes=True) as connection:
        lock_out_others(connection, report=report)
        refuse_unfit(connection)
        enter_schema(connection)
        _refuse_while_used(connection)
        _refuse_half_widened(connection)
        if attached := _attached(connection):
            raise SchemaRefused(f"would be lost with what is ours: {'; '.join(attached)}; drop it first")

        def step(name: str, change: Callable[[], None]) -> None:
            report(name)
            in_a_gap(connection, change, name=name, report=report)

        _look_first(connection, report=report)
        step("index on expires, beside the running proxy", lambda: _make_expires_index(connection))
        step("everything that is ours, columns of location last", lambda: _take_out(connection, report=report))


def _refuse_while_used(connection: Connection) -> None:
    # PostgreSQL notices a little later that a stopped program is gone.
    for _ in range(LOOKS):
        names = [row[0] for row in connection.execute(statement("uninstall_sessions"))]
        if not names:
            return
        sleep(0.1)
    raise SchemaRefused(f"still connected: {', '.join(names)}; stop worker and API first")


def _refuse_half_widened(connection: Connection) -> None:
    tables = [row[0] for row in connection.execute(statement("uninstall_half_widened"))]
    if tables:
        commands = "; ".join(f"registrations-db widen id --table {table}" for table in tables)
        raise SchemaRefused(f"widening of id was interrupted, complete it first: {commands}")


def _objects(connection: Connection) -> dict[str, list[str]]:
    """By their kind, in the order in which they can be dropped."""
    ours = own_schema()
    # Ours only: on a database of kamdbctl the table subscriber is Kamailio's.
    subscribers = [row[0] for row in connection.execute(statement("uninstall_subscriber"))]
    tables = [*ours.tables, *subscribers]
    return {
        "view": ours.views,
        "table": tables,
        "function": ours.functions,
        "sequence": ours.sequences,
        "domain": ours.domains,
    }


def _attached(connection: Connection) -> list[str]:
    """What the operator attached to ours, and PostgreSQL would drop with it without a word."""
    ours, objects = own_schema(), _objects(connection)
    values = {
        "relations": [*objects["view"], *objects["table"]],
        "functions": [each.partition("(")[0] for each in ours.functions],
        "columns": ours.columns,
        "indexes": ours.indexes,
    }
    return [row[0] for row in connection.execute(statement("uninstall_attached"), values)]


def _look_first(connection: Connection, *, report: Callable[[str], None]) -> None:
    def take_out_and_back() -> None:
        with connection.transaction(force_rollback=True):
            _take_out(connection)

    name = "looking for what is in the way"
    report(name)
    in_a_gap(connection, take_out_and_back, name=name, report=report)


def _take_out(connection: Connection, *, report: Callable[[str], None] = lambda _: None) -> None:
    """Drop everything, what is at subscriber and location at the end: from there on phones wait.

    Raises:
        SchemaRefused: something that is not ours depends on it; or phones could register, and could not any more.
    """
    ours = own_schema()
    changes = [f"reset ({', '.join(OPTIONS)})", *(f"drop column if exists {name} {{how}}" for name in ours.columns)]
    with connection.transaction(), phones_still_register(connection, f"without our columns of location {FAILS}"):
        found: list[str] = []
        objects = _objects(connection)
        functions = objects.pop("function")
        for kind, names in objects.items():
            found += _drop(connection, f"drop {kind} if exists {', '.join(names)} {{how}}")
        if not found:
            connection.execute(statement("uninstall_versions"))
            _drop_roles(connection, report)
        # From here on auth_db waits for subscriber.
        connection.execute(f"drop trigger if exists {TRIGGER_OF_SUBSCRIBER} on subscriber".encode())
        found += _drop(connection, f"drop function if exists {', '.join(functions)} {{how}}")
        found += _drop(connection, f"drop index if exists {', '.join(ours.indexes)} {{how}}")
        found += _drop(connection, f"alter table location {', '.join(changes)}")
        if found:
            raise SchemaRefused(f"something that is not ours is in the way: {'; '.join(dict.fromkeys(found))}")


def _drop(connection: Connection, command: str) -> Sequence[str]:
    """Execute a command that drops all of one kind.

    Args:
        connection: within a transaction.
        command: with a place for RESTRICT or CASCADE.

    Returns:
        PostgreSQL's lines on what depends on it and so is not ours. With that it is dropped all the same, to find what
        else is in the way: the caller rolls back.
    """
    try:
        with connection.transaction():
            connection.execute(command.format(how="restrict").encode())
    except psycopg.errors.DependentObjectsStillExist as error:
        connection.execute(command.format(how="cascade").encode())
        return (error.diag.message_detail or str(error)).splitlines()
    return []


def _make_expires_index(connection: Connection) -> None:
    connection.execute(statement("session_patience"))
    connection.execute(sql.SQL("drop index concurrently if exists {}").format(sql.Identifier(EXPIRES_INDEX)))
    connection.execute(statement("uninstall_expires_index"))


def _drop_roles(connection: Connection, report: Callable[[str], None]) -> None:
    for role in ROLES:
        exists, *place = fetch_row(connection, "uninstall_role", {"role": role})
        if not exists:
            continue
        database, schema = (sql.Identifier(name) for name in place)
        name = sql.Identifier(role)
        revoked = (
            sql.SQL("all tables in schema {}").format(schema),
            sql.SQL("all sequences in schema {}").format(schema),
            sql.SQL("all functions in schema {}").format(schema),
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
