"""The command registrations-kamailio: edits Kamailio's configuration."""

import os
import sys
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from kamailio.patching.changes import Change
from kamailio.patching.edits import INCLUDE, INTERIM, patched, unpatched
from kamailio.patching.file import (
    Edit,
    Edits,
    NotWritten,
    defines_of_include,
    include,
    other_loaders,
    read,
)
from kamailio.patching.script import NotUnderstood
from kamailio.patching.writing import write as write_both

# `kamailio -c` takes any number.
_VALUES = {
    "KAMAILIO_DB_MODE": "1 2 3",
    **dict.fromkeys(
        (
            "KAMAILIO_EXPIRES_TYPE",
            "KAMAILIO_USE_DOMAIN",
            "KAMAILIO_SERVER_ID_FILTER",
            "KAMAILIO_DB_TIMER_CLEAN",
            "KAMAILIO_DB_CLEAN_TCP",
            "KAMAILIO_HANDLE_LOST_TCP",
        ),
        "0 1",
    ),
    "KAMAILIO_MATCHING_MODE": "0 1 2 3",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kamailio-registrations")
def main() -> None:
    """Edit a kamailio.cfg so that it loads registrations.cfg, and print a drop-in for Kamailio's unit."""


def _read_defines(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    defines = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name.isidentifier() or not value.isprintable() or not value:
            raise click.BadParameter(f"{each!r} is not NAME=VALUE")
        if name not in defines_of_include():
            raise click.BadParameter(f"registrations.cfg has no value {name}; its first lines list the values")
        if name in _VALUES and value not in _VALUES[name].split():
            raise click.BadParameter(f"{each!r}: {name} is one of {_VALUES[name]}")
        defines[name] = value
    return defines


def _read_zone(_context: click.Context, _option: click.Parameter, given: str) -> str:
    if given == "UTC":
        return given  # works without tzdata: libc uses UTC for a zone that it does not find
    try:
        ZoneInfo(given)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise click.BadParameter(f"there is no time zone {given!r}; try a name such as Europe/Berlin") from None
    return given


@main.command()
@click.option(
    "--timezone",
    default="UTC",
    callback=_read_zone,
    show_default=True,
    help="Time zone for Kamailio. If the table has TIMESTAMP columns, give the zone in which it has run so far.",
)
def unit(timezone: str) -> None:
    """Print a drop-in for Kamailio's unit, for /etc/systemd/system/kamailio.service.d/registrations.conf."""
    text = files("kamailio").joinpath("registrations.conf").read_text(encoding="utf-8")
    click.echo(text.replace("TZ=UTC", f"TZ={timezone}"), nl=False)


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--write", is_flag=True, help="Make the edits, and keep a copy of the old file beside it.")
@click.option("--undo", is_flag=True, help="Remove the edits. Every other line stays as it is.")
@click.option("--check", is_flag=True, help="Report only by the exit status whether the edits are made: 0 yes, 1 no.")
@click.option(
    "--define",
    "defines",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_read_defines,
    help="A value for registrations.cfg, such as KAMAILIO_SERVER_ID=2. Can be repeated. The values replace all those "
    "of an earlier run; without this option they stay.",
)
@click.option("--no-check", is_flag=True, help="Write without running `kamailio -c` first.")
def patch(file: Path, *, write: bool, undo: bool, check: bool, defines: dict[str, str], no_check: bool) -> None:
    """Show a diff of the edits that FILE, a kamailio.cfg, needs, and what they change for the proxy.

    Without --write the command changes nothing. With --write it writes all files or none, and puts registrations.cfg
    beside FILE. --undo removes that file unless another configuration beside it loads it. The command refuses edits
    that would harm the proxy, and says what to do instead.
    """
    try:
        text = read(file)
        assert text is not None  # noqa: S101  # click has checked it
        edits = _edits(file, text, defines=defines, undo=undo)
        after = edits.configuration.after or ""
        change = None if undo else Change(file, now=text, after=after)
        if change is not None:
            change.refuse_harm()
    except NotUnderstood as error:
        raise click.ClickException(f"{file}: {error}") from error
    except (NotWritten, OSError) as error:
        raise click.ClickException(str(error)) from error
    changed = [each for each in edits if each.changes]
    if check:
        sys.exit(1 if changed else 0)
    _show(edits, file, undo=undo)
    if not changed:
        click.echo(f"{file}: nothing to do")
    elif write:
        try:
            for line in write_both(edits, check=not no_check):
                click.echo(line, err=True)
        except PermissionError as error:
            raise click.ClickException(f"{error}: run it as root or as the owner of {file}") from error
        except (NotWritten, OSError) as error:
            raise click.ClickException(str(error)) from error
        click.echo("Restart Kamailio to apply it", err=True)
    elif change is not None:
        click.echo("After its next start the proxy differs in these points only:")
        for line in change.told():
            click.echo(f"  {line}")


def _show(edits: Edits, file: Path, *, undo: bool) -> None:
    for each in sorted((each for each in edits if each.changes), key=lambda each: each.path == file):
        click.echo(_shown(each, file), nl=False)
    if undo or edits.included.changes:
        for other in other_loaders(file):
            click.echo(f"{other} also loads {INCLUDE}: {'the file stays' if undo else 'patch it as well'}", err=True)


def _shown(edit: Edit, file: Path) -> bytes:
    if edit.path != file and (edit.before is None or edit.after is None):
        return os.fsencode(f"{edit.path}: {'a new file' if edit.after else 'removed'}\n")
    return edit.diff().encode(errors="surrogateescape")


def _edits(file: Path, text: str, *, defines: dict[str, str], undo: bool) -> Edits:
    after = unpatched(text) if undo else patched(text, defines=defines)
    beside = file.with_name(INCLUDE)  # not beside a link's target: Kamailio looks beside the path it was started with
    interim = file.with_name(INTERIM)
    before = read(beside)
    left = before if other_loaders(file) else None
    return Edits(
        Edit(file, text, after),
        Edit(beside, before, left if undo else include()),
        Edit(interim, read(interim), None),
    )
