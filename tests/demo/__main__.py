"""`python -m tests.demo` runs the whole system on this machine, with simulated phones; see `make demo`.

This module owns the order: check, start, show, watch, stop.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime

import click
import psycopg

from tests.demo.content import Content
from tests.demo.database import end_server, find_server
from tests.demo.help import demo_command, show_help, show_parts, shown, write_environment
from tests.demo.sample import read_sample
from tests.demo.screen import Screen
from tests.demo.settings import HOST, Mistake, Settings, find_port_problem, locked, read_settings, running_demo
from tests.demo.show import Tokens, examples, show
from tests.demo.signals import START_DATABASE, STOP_DATABASE, Interrupted, Signals
from tests.demo.stack import Stack
from tests.stand.kamailio import kamailio_version
from tests.stand.phone import NoAnswer
from tests.stand.process import TAIL_LINES, DaemonFailed, wait_until

LOOK = 0.5
"""Seconds between two checks that all parts still run."""


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Run PostgreSQL, Kamailio, the worker, the API and simulated phones on this machine until Ctrl-C."""
    if context.invoked_subcommand is None:
        run(read_settings(os.environ), Screen(), Signals())


@main.command()
def stop_database() -> None:
    """Stop the running demo's PostgreSQL. Everything else keeps running."""
    settings = read_settings(os.environ)
    data = settings.directory / "postgres" / "data"
    os.kill(running_demo(settings.directory), STOP_DATABASE)
    _wait_for_database(lambda: find_server(data) is None, "stop")
    click.echo("PostgreSQL is stopped")


@main.command()
def start_database() -> None:
    """Start the running demo's PostgreSQL again."""
    settings = read_settings(os.environ)
    data = settings.directory / "postgres" / "data"
    os.kill(running_demo(settings.directory), START_DATABASE)
    _wait_for_database(lambda: (find_server(data) or (0, False))[1], "start")
    click.echo("PostgreSQL runs")


def run(settings: Settings, screen: Screen, signals: Signals) -> None:
    """Start, show, watch and stop the demo.

    Raises:
        Mistake: it cannot start, or a part of it has died.
    """
    signals.install()
    _forget_foreign_settings()
    with locked(settings.directory):
        _prepare(settings, screen)
        with contextlib.suppress(Interrupted), Stack(settings, read_sample(), signals) as stack:
            try:
                with _mistakes(signals):
                    _start(stack, settings, screen, signals)
                    _watch(stack, settings, screen, signals)
            finally:
                settings.env_file.unlink(missing_ok=True)
                screen.line("\nstopping ...", last=True)
        screen.line(f"stopped; the data stay in {shown(settings.directory)}", last=True)


def _forget_foreign_settings() -> None:
    """Remove settings from our environment: the daemons inherit it, and must only see the demo's own settings."""
    for name in list(os.environ):
        if name.startswith(("REGISTRATIONS_", "KAMAILIO_", "PG", "GUNICORN_")):
            del os.environ[name]
    # kamailio is in /usr/sbin, which is not in a user's PATH on Debian.
    os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def _prepare(settings: Settings, screen: Screen) -> None:
    """Remove what an earlier demo left, and check that the ports are free."""
    killed = settings.env_file.exists()
    settings.env_file.unlink(missing_ok=True)
    if find_server(settings.directory / "postgres" / "data") is not None:
        screen.line("stopping the PostgreSQL of an earlier demo that was killed")
        end_server(settings.directory / "postgres" / "data")
    if killed:  # the kernel has signalled its daemons, which may still be stopping
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: find_port_problem(settings) is None, 5, "the ports")
    problem = find_port_problem(settings)
    if problem is not None:
        raise Mistake(problem)
    settings.logs.mkdir(exist_ok=True)
    for log in settings.logs.glob("*.log"):
        log.unlink()


def _start(stack: Stack, settings: Settings, screen: Screen, signals: Signals) -> None:
    sample, database = read_sample(), stack.database
    content = Content(database.url(), directory=settings.directory, log=settings.logs / "setup.log")
    screen.line(
        f"kamailio-registrations on this machine; all files are in {shown(settings.directory)}\n",
        style="bold",
    )
    which = "a new cluster" if database.is_new else "the cluster of the last demo"
    with screen.step(f"PostgreSQL {database.version} on {HOST}:{settings.pg_port}, {which}"):
        stack.start_database()
    signals.check()
    with screen.step("schema: registrations-db migrate"):
        content.migrate()
    signals.check()
    counts = f"{len(sample.accounts)} accounts, {sample.owners} owners, {len(sample.passwords)} devices"
    with screen.step(f"{counts}: registrations-db import"):
        content.import_sample()
        content.forget_bindings()
        admin, reseller, child = content.renew_tokens(sample.admin, sample.reseller, sample.child)
    signals.check()
    with screen.step(
        f"Kamailio {kamailio_version()} on {HOST}:{settings.sip_port}{' and [::1]' if stack.ipv6 else ''}"
    ):
        stack.start_kamailio()
    signals.check()
    with screen.step(f"worker, and API on {stack.api_url}"):
        stack.start_worker_and_api()
    signals.check()
    with screen.step(f"{len(stack.phones.all)} simulated phones register"):
        stack.phones.start(check=signals.check)
        wait_until(lambda: signals.stops or content.knows_sources(), 20, "the worker to know every phone")
    show_parts(stack, screen)
    tokens = Tokens(admin=admin, reseller=reseller, child=child)
    for example in examples(sample, tokens):
        show(example, api_url=stack.api_url, screen=screen, signals=signals)
    stack.phones.refresh()
    show_help(stack, settings, sample, screen)
    write_environment(stack, settings, sample, tokens)


def _watch(stack: Stack, settings: Settings, screen: Screen, signals: Signals) -> None:
    """Watch the parts. Raises Interrupted when a signal ends the demo, and Mistake when a part has died."""
    was_up = True
    while True:
        request = signals.wait(LOOK)
        if request == STOP_DATABASE:
            stack.database.stop()
        elif request == START_DATABASE:
            try:
                stack.database.start_again()
            except DaemonFailed as error:
                screen.line(f"PostgreSQL did not start: {error}", style="red")
        dead = stack.find_dead()
        if dead is not None:
            tail = dead.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
            raise Mistake("\n".join([f"{dead.name} stopped unexpectedly; the end of {shown(dead.log)}:", *tail]))
        is_up = stack.database.is_up
        if is_up != was_up:
            remedy = f"start it with  {demo_command(settings, 'start-database')}"
            news = "PostgreSQL is back" if is_up else f"PostgreSQL is stopped; {remedy}"
            screen.line(f"{datetime.now():%H:%M:%S} {news}")
        was_up = is_up


@contextlib.contextmanager
def _mistakes(signals: Signals) -> Iterator[None]:
    """Turn an error of a part into a Mistake, unless the user interrupted the demo: then the signal caused it."""
    try:
        yield
    except Interrupted:
        raise
    except (
        DaemonFailed, FileNotFoundError, Mistake, NoAnswer, TimeoutError, psycopg.Error, subprocess.CalledProcessError,
    ) as error:  # fmt: skip
        if signals.stops:
            raise Interrupted from error
        if isinstance(error, Mistake):
            raise
        hint = "If the directory holds the data of another version, remove them with `make clean`."
        raise Mistake(f"{error}\n{hint}") from error


def _wait_for_database(condition: Callable[[], object], what: str) -> None:
    try:
        wait_until(condition, 30, f"PostgreSQL to {what}")
    except TimeoutError as error:
        raise Mistake(str(error)) from error


if __name__ == "__main__":
    main()
