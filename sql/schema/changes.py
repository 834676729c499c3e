"""What `migrate` would change in Kamailio's own tables of this database, one line for each change.

A test compares the lines with the catalogs before and after.
"""

from collections import defaultdict
from collections.abc import Iterator, Set

from sql.connections.database import Connection, connect
from sql.schema.migration import KAMAILIO_TABLES
from sql.schema.own_objects import (
    EXPIRES_INDEX,
    INDEXES_OF_SUBSCRIBER,
    KAMAILIO_INDEXES,
    OPTIONS,
    ROLES,
    TRIGGER_OF_SUBSCRIBER,
    expected_grants,
    kamailio_widths,
    own_schema,
)
from sql.schema.record import MIGRATE_COMMAND, missing_migrations
from sql.settings import DatabaseSettings
from sql.statements import statement

# Migrations that change what the operator may have changed again since.
COLUMNS, INDEXES, SUBSCRIBER = "0001-location", "0002-location-indexes", "0005-subscribers"
OPTIONS_MEAN = {
    "fillfactor": "pages keep room for the next version of their rows; the table grows by a third with time",
    "autovacuum_vacuum_scale_factor": "it is vacuumed when one row in twenty is dead",
}
SEQUENCES = ("location_id_seq", "location_attrs_id_seq")

_Facts = dict[tuple[str, str], dict[str, str | None]]


def foretell(settings: DatabaseSettings) -> list[str]:
    """Say how Kamailio's tables would differ after `migrate`; none when there is nothing to do.

    Raises:
        DatabaseUnreachable: PostgreSQL is away.
    """
    with connect(settings, application_name=f"{MIGRATE_COMMAND} --dry-run") as connection:
        missing = frozenset(missing_migrations(connection))
        facts, grants, roles = _read(connection)
    if not facts["location", "column"]:
        return []  # usrloc's tables will be made, which `plan` reports
    tables = [*_columns(facts, missing), *_indexes(facts, missing), *_options(facts, missing)] if missing else []
    return [*tables, *_roles(grants, roles)]  # every `migrate` restores these


def _read(connection: Connection) -> tuple[_Facts, set[tuple[str, str, str]], set[str]]:
    """Facts by table and kind, privileges as table, role and privilege, and the roles that are there."""
    facts: _Facts = defaultdict(dict)
    grants, roles = set(), set()
    values = {"tables": [*KAMAILIO_TABLES, *SEQUENCES], "roles": list(ROLES)}
    for kind, table, name, value in connection.execute(statement("migrate_tables"), values):
        if kind == "role":
            roles.add(name)
        elif kind == "grant":
            grants.add((table, name, value))
        else:
            facts[table, kind][name] = value
    return facts, grants, roles


def _columns(facts: _Facts, missing: Set[str]) -> Iterator[str]:
    has, ours = facts["location", "column"], own_schema()
    if added := [name for name in ours.columns if name not in has]:
        yield (
            f"location gets the columns {', '.join(added)}, with comments: Kamailio names its own columns in each "
            "statement and does not see them; no row is rewritten"
        )
        for name in facts["location", "publication"]:
            yield (
                f"your publication {name} sends these columns, too: a subscriber whose location lacks them stops at "
                "the next row, so add them there before"
            )
    if COLUMNS in missing:
        for name, width in kamailio_widths().items():
            if name in has and 0 <= (now := int(has[name] or -1)) < width:
                yield (
                    f"location.{name} gets {width} characters instead of {now}, as in Kamailio's own schema, unless a "
                    "view shows it; no row is rewritten"
                )
    for name in facts["location", "trigger"]:
        yield (
            f"your trigger {name} of location meets rows with more columns: migrate tries it, and refuses if it fails, "
            "as one does that stores rows whole (old.*); what worker and API write calls it, too, with the rights of "
            "registrations_sync and registrations_api: grant them what it needs, or make its function security definer"
        )


def _indexes(facts: _Facts, missing: Set[str]) -> Iterator[str]:
    has = facts["location", "index"]
    if INDEXES in missing:
        if EXPIRES_INDEX in has:
            yield (
                f"location loses the index {EXPIRES_INDEX}, so that a refresh writes no index (a heap-only update); "
                "what looks for expired rows reads the whole table: usrloc's timer in db_mode 3 or with "
                "db_timer_clean, and "
                f"nathelper's pings from the table; `create index concurrently {EXPIRES_INDEX} on location (expires)` "
                "makes it again"
            )
        for table, names in KAMAILIO_INDEXES.items():
            if made := [name for name in names if name not in facts[table, "index"]]:
                yield f"{table} gets the indexes {', '.join(made)} of Kamailio's schema, built beside the running proxy"
    of_location = [name for name in own_schema().indexes if name not in INDEXES_OF_SUBSCRIBER]
    if made := [name for name in of_location if name not in has]:
        yield (
            f"location gets the indexes {', '.join(made)}, built beside the running proxy; new registrations write "
            "them, refreshes do not"
        )
    if SUBSCRIBER in missing and facts["subscriber", "column"]:
        yield (
            f"subscriber gets the indexes {', '.join(INDEXES_OF_SUBSCRIBER)}; kamctl waits while they are built, "
            "Kamailio only reads it"
        )
        yield (
            f"subscriber gets the trigger {TRIGGER_OF_SUBSCRIBER}: it counts the statements that write subscriber, so "
            "that the worker sees a change; no statement fails because of it or waits for it"
        )


def _options(facts: _Facts, missing: Set[str]) -> Iterator[str]:
    if INDEXES not in missing:
        return
    has = facts["location", "option"]
    for name, value in OPTIONS.items():
        if has.get(name) != value:
            yield (f"location's {name} becomes {value} (now {has.get(name) or 'the default'}): {OPTIONS_MEAN[name]}")


def _roles(grants: Set[tuple[str, str, str]], roles: Set[str]) -> Iterator[str]:
    if made := [role for role in ROLES if role not in roles]:
        yield f"the roles {', '.join(made)} are made; none can log in before it has a password, and none owns anything"
    given: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in expected_grants():
        privilege = f"{each.privilege} ({each.part})" if each.part else each.privilege
        known = each.object in ("location", "location_attrs", "version", *SEQUENCES)
        if known and (each.object, each.role, privilege) not in grants:
            given[each.role, each.object].append(privilege)
    for (role, table), privileges in given.items():
        yield f"{role} may {', '.join(privileges)} on {table}; other roles keep their privileges"
