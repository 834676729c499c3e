"""registrations-kamailio: the operator's command for Kamailio's configuration."""

import sys
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from kamailio.patch import INCLUDE, NotUnderstood, patched, unpatched
from kamailio.patch_file import Edit, NotWritten, accepted, back_up, defines_of_include, include, read, replace

# `kamailio -c` takes any number.
_VALUES = {"KAMAILIO_DB_MODE": "1 2 3", "KAMAILIO_EXPIRES_TYPE": "0 1", "KAMAILIO_USE_DOMAIN": "0 1"}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kamailio-registrations")
def main() -> None:
    """Kamailio's configuration, so that usrloc writes as the rest needs it."""


def _read_defines(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    defines = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name.isidentifier() or not value.isprintable() or not value:
            raise click.BadParameter(f"{each!r} is not NAME=VALUE")
        if name not in defines_of_include():
            raise click.BadParameter(f"registrations.cfg has no value {name}; its first lines list them")
        if name in _VALUES and value not in _VALUES[name].split():
            raise click.BadParameter(f"{each!r}: {name} is one of {_VALUES[name]}")
        defines[name] = value
    return defines


def _read_zone(_context: click.Context, _option: click.Parameter, given: str) -> str:
    if given == "UTC":
        return given  # which needs no tzdata: libc takes what it does not find for UTC, without a word
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
    help="Zone that Kamailio runs in; with rows in TIMESTAMP columns the old one.",
)
def unit(timezone: str) -> None:
    """Print a drop-in for Kamailio's unit, for /etc/systemd/system/kamailio.service.d/registrations.conf."""
    text = files("kamailio").joinpath("registrations.conf").read_text(encoding="utf-8")
    click.echo(text.replace("TZ=UTC", f"TZ={timezone}"), nl=False)


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--write", is_flag=True, help="Make the edits; the file as it was is kept beside it.")
@click.option("--undo", is_flag=True, help="Take the edits out again, and leave every other line as it is.")
@click.option("--check", is_flag=True, help="Only tell by the exit status whether the edits are made: 0 yes, 1 no.")
@click.option(
    "--define",
    "defines",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_read_defines,
    help="A value that registrations.cfg is to have, such as KAMAILIO_SERVER_ID=2; can be repeated.",
)
@click.option("--no-check", is_flag=True, help="Write without asking `kamailio -c` first.")
def patch(file: Path, *, write: bool, undo: bool, check: bool, defines: dict[str, str], no_check: bool) -> None:
    """Show the edits that FILE, a kamailio.cfg, needs, as a diff; nothing is changed without --write.

    registrations.cfg is put beside FILE, and taken away by --undo.
    """
    text = read(file)
    assert text is not None  # noqa: S101  # click has looked
    beside = file.with_name(INCLUDE)  # of a link, too: Kamailio looks where the name is that it was started with
    try:
        after = unpatched(text) if undo else patched(text, defines=defines)
        edits = [Edit(beside, read(beside), None if undo else include()), Edit(file, text, after)]
    except NotUnderstood as error:
        raise click.ClickException(f"{file}: {error}") from error
    except OSError as error:
        raise click.ClickException(str(error)) from error
    changed = [each for each in edits if each.before != each.after]
    if check:
        sys.exit(1 if changed else 0)
    for each in changed:
        if each.path == beside and (each.before is None or each.after is None):
            click.echo(f"{beside}: {'a new file' if each.after else 'removed'}")
        else:
            click.echo(each.diff().encode(errors="surrogateescape"), nl=False)
    if not changed:
        click.echo(f"{file}: nothing to do")
    elif write:
        try:
            _write(file, edits, check=not no_check)
        except PermissionError as error:
            raise click.ClickException(f"{error}: run it as root or as the owner of {file}") from error
        except (NotWritten, OSError) as error:
            raise click.ClickException(str(error)) from error


def _write(file: Path, edits: list[Edit], *, check: bool) -> None:
    included, configuration = edits
    kept = None
    if included.after is not None and included.after != included.before:
        kept = back_up(included.path) if included.before is not None else None
        replace(included.path, included.after, like=file)  # what loads it is written last
    try:
        assert configuration.after is not None  # noqa: S101  # it is never removed
        if check:
            accepted(configuration.after, file)
    except NotWritten:
        if included.before is None:
            included.path.unlink(missing_ok=True)
        elif kept is not None:
            replace(included.path, included.before, like=file)
            kept.unlink()
        raise
    if kept is not None:
        click.echo(f"{included.path} is written, as it was it is kept as {kept}", err=True)
    if configuration.after != configuration.before:
        click.echo(f"{file} is written, as it was it is kept as {back_up(file)}", err=True)
        replace(file, configuration.after, like=file)
    if included.after is None and included.before is not None:
        if included.before != include():
            click.echo(f"{included.path} was edited, it is kept as {back_up(included.path)}", err=True)
        included.path.unlink()
    click.echo("Kamailio takes it at its next start", err=True)
