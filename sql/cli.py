"""registrations-db: the operator's command for the database."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from textwrap import indent

import click
import psycopg

from sql.access.restrictions import BadRestrictions, Restrictions, read_restrictions
from sql.access.tokens import create_token, list_tokens, revoke_token
from sql.check.database import check_database, check_schema, find_facts, find_summary
from sql.connections.database import Connection, connect
from sql.console.finding import EXIT_UNKNOWN, Severity, as_text, exit_status
from sql.console.mistakes import operators_mistakes
from sql.directory.command import import_command
from sql.kamailio_tables.alteration import VIEWED_TABLES, alter
from sql.kamailio_tables.widening import TABLES, widen
from sql.schema.changes import foretell
from sql.schema.migrate import migrate, plan
from sql.schema.record import require_current_schema
from sql.schema.uninstall import describe, uninstall
from sql.settings import DatabaseSettings

report = partial(click.echo, err=True)


@contextmanager
def _connected() -> Iterator[Connection]:
    with (
        operators_mistakes(),
        connect(DatabaseSettings(), application_name="registrations-db", bounded=True) as connection,
    ):
        try:
            yield connection
        except psycopg.ProgrammingError as error:  # only now: a token can be revoked before an upgrade migrates
            if isinstance(error, psycopg.errors.UndefinedFunction | psycopg.errors.UndefinedTable):
                require_current_schema(connection)
            raise


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kamailio-registrations")
def main() -> None:
    """Manage schema, directory and tokens in Kamailio's database (REGISTRATIONS_DATABASE_URL)."""


@main.command("migrate")
@click.option("--dry-run", is_flag=True, help="Print what would change and what each change locks; change nothing.")
def migrate_command(*, dry_run: bool) -> None:
    """Bring the schema up to date. It is safe on a live proxy, and safe to repeat."""
    with operators_mistakes():
        if dry_run:
            lacking = plan(DatabaseSettings(), report=report)
            for each in lacking:
                click.echo(f"{each.name}: {each.lock}\n{indent(each.purpose, '    ')}\n")
            if changes := foretell(DatabaseSettings()):
                click.echo("Kamailio's own tables would change as follows.")
                click.echo("\n".join(f"  - {each}" for each in changes) + "\n")
            click.echo(f"{len(lacking)} migration(s) would be applied" if lacking else "the schema is current")
            return
        applied = migrate(DatabaseSettings(), report=report)
    click.echo(f"{len(applied)} migration(s) applied" if applied else "the schema is current")


@main.command("widen")
@click.argument("column")
@click.argument("width", type=click.IntRange(min=1, max=10_485_760), required=False)
@click.option("--table", type=click.Choice(TABLES), default="location", show_default=True)
@click.option("--dry-run", is_flag=True, help="Print the steps that are left and what each locks; change nothing.")
def widen_command(column: str, width: int | None, *, table: str, dry_run: bool) -> None:
    """Widen a COLUMN of usrloc's table while everything is running: id to bigint, a varchar to WIDTH characters.

    Views that show the column are recreated as they were. A REGISTER may wait for some milliseconds. If it is
    interrupted, run it again.
    """
    with operators_mistakes():
        done = widen(
            DatabaseSettings(),
            column,
            width,
            table=table,
            dry_run=dry_run,
            report=report,
        )
    if dry_run and done:
        click.echo("nothing was changed")
        return
    click.echo(f"{table}.{column} is {'wider' if done else 'already that wide'}")


@main.command("alter")
@click.argument("commands")
@click.option("--table", type=click.Choice(VIEWED_TABLES), default="location", show_default=True)
def alter_command(commands: str, *, table: str) -> None:
    """Execute SQL COMMANDS, such as ALTER TABLE, that PostgreSQL refuses because views show a column.

    For upgrades of Kamailio's schema. It drops the views on the table, your own too, and recreates them as they were,
    in one transaction that locks the table. To widen a column use widen, which keeps no phone waiting.
    """
    with operators_mistakes():
        alter(DatabaseSettings(), commands, table=table, report=report)
    click.echo(f"done; the views on {table} are as they were")


@main.command("uninstall")
@click.option("--yes", is_flag=True, help="Do it. The directory, the tokens and the records of flushes are lost.")
def uninstall_command(*, yes: bool) -> None:
    """Print what would be removed from the database. Kamailio's own tables stay, as kamdbctl created them.

    Before --yes, restart Kamailio without registrations.cfg, then stop the worker and the API. No REGISTER waits.
    """
    with operators_mistakes():
        if not yes:
            if not (lines := describe(DatabaseSettings(), report=report)):
                click.echo("nothing of ours is in the database")
                return
            click.echo("\n".join(lines))
            click.echo("nothing was changed; repeat with --yes")
            return
        uninstall(DatabaseSettings(), report=report)
    click.echo("only Kamailio's own tables are left")


@main.command("check")
def check_command() -> None:
    """Check the database. `registrations-sync check` also checks the worker and Kamailio.

    Exits like a Nagios plugin: 0 all well, 1 a warning, 2 a fault, 3 the check cannot be made.
    """
    with (
        operators_mistakes(exit_code=EXIT_UNKNOWN),
        connect(DatabaseSettings(), application_name="registrations-db check", bounded=True) as connection,
    ):
        findings = [schema := check_schema(connection)]
        if schema.severity is Severity.OK:
            findings += check_database(connection, facts=find_facts(connection))
            for name, value in find_summary(connection).items():
                click.echo(f"{name}: {value}")
    click.echo(as_text(findings))
    sys.exit(exit_status(findings))


def _parse_restrictions(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> Restrictions | None:
    """Gather ``METHOD=PATTERN`` options; None if there is none."""
    gathered: Restrictions = {}
    for each in given:
        method, equals, pattern = each.partition("=")
        if not equals:
            raise click.BadParameter(f"{each!r} is not METHOD=PATTERN")
        gathered.setdefault(method, []).append(pattern)
    try:
        return read_restrictions(gathered) if gathered else None
    except BadRestrictions as error:
        raise click.BadParameter(str(error)) from error


@main.group()
def token() -> None:
    """Manage tokens for the API. A token gives access to an account and its descendants."""


@token.command("create")
@click.argument("account_id")
@click.option("--note", default="", help="What it is for.")
@click.option(
    "--idle-lifetime",
    type=click.IntRange(min=0, max=10 * 365 * 86400),
    default=3600,
    show_default=True,
    help="Seconds without use until it expires; 0: never.",
)
@click.option(
    "--restrict",
    "restrictions",
    metavar="METHOD=PATTERN",
    multiple=True,
    callback=_parse_restrictions,
    help="Allow only this method (*: any) on these paths below /v2/. In a pattern * is one segment, # any number. "
    "Can be repeated.",
)
def token_create(account_id: str, note: str, idle_lifetime: int, restrictions: Restrictions | None) -> None:
    """Print a new token for ACCOUNT_ID. It cannot be shown again."""
    lifetime = timedelta(seconds=idle_lifetime) if idle_lifetime else None
    with _connected() as connection:
        number, text = create_token(
            connection, account_id, idle_lifetime=lifetime, note=note, restrictions=restrictions
        )
    click.echo(f"token {number} of account {account_id}", err=True)
    click.echo(text)


@token.command("list")
def token_list() -> None:
    """List every token: number, account, last use, lifetime, restrictions, note."""
    with _connected() as connection:
        tokens = list_tokens(connection)
    for each in tokens:
        life = "never expires" if each.idle_lifetime is None else f"expires after {each.idle_lifetime} without use"
        state = life if each.alive else "expired"
        used = each.last_used_at.isoformat(timespec="seconds")
        may = _as_options(each.restrictions)
        click.echo(f"{each.id}\t{each.account_id}\t{each.account_name}\tused {used}\t{state}\t{may}\t{each.note}")


def _as_options(restrictions: Restrictions | None) -> str:
    if restrictions is None:
        return "unrestricted"
    allowed = [f"{method}={pattern}" for method, patterns in restrictions.items() for pattern in patterns]
    return f"only {' '.join(allowed)}" if allowed else "nothing"


@token.command("revoke")
@click.argument("number", type=int)
def token_revoke(number: int) -> None:
    """Remove the token with that NUMBER. It is refused from now on."""
    with _connected() as connection:
        found = revoke_token(connection, number)
    if not found:
        raise click.ClickException(f"there is no token {number}")
    click.echo(f"token {number} is revoked")


main.add_command(import_command)
