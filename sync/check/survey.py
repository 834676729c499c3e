"""Checks of a node's answers: its commands, version, usrloc parameters and clock."""

from collections.abc import Iterator
from datetime import timedelta

from kamailio.settings import LOCAL_NODE, KamailioSettings
from kamailio.survey import Survey
from sql.check.database import Facts
from sql.console.finding import Finding, Severity

OLDEST_VERSION = (5, 6)
SKEW_SECONDS = 2.5
# Since 1972 every time zone's offset from UTC is a multiple of a quarter of an hour.
ZONE_STEP_SECONDS = 900
INCLUDE = 'make include_file "registrations.cfg" the last line of its kamailio.cfg and restart it'


def check_survey(
    name: str, told: Survey, *, node: int, settings: KamailioSettings, facts: Facts | None
) -> Iterator[Finding]:
    """Report what is wrong with a node's commands, version and parameters.

    Args:
        name: of the node, for the operator.
        told: its answers.
        node: its number in the settings.
        settings: the expected settings.
        facts: about the database; None if it is unreachable.
    """
    if told.refused:
        answers = ", ".join(f"{command} ({error.code} {error.message})" for command, error in told.refused.items())
        yield Finding(
            "node_commands",
            Severity.FAULT,
            f"{name} does not serve {answers}",
            "lists work, but flushes or check-sync fail",
            "load usrloc, tm and pv; for HTTP serve them by route(REGISTRATIONS_RPC) of registrations.cfg, to this "
            "machine's address (KAMAILIO_RPC_CLIENTS) and at the path /RPC",
        )
    if told.number is not None and told.number < OLDEST_VERSION:
        yield Finding(
            "node_version",
            Severity.WARNING,
            f"{name} is {told.version}",
            "this version is untested",
            "use Kamailio 5.6 or newer",
        )
    if told.loaded is False:
        yield Finding(
            "node_loading",
            Severity.WARNING,
            f"{name} is still loading usrloc's table",
            "flushes wait for it",
            "wait; if this lasts, your own event_route[core:worker-one-init] lacks route(REGISTRATIONS_LOADED)",
        )
    if told.db_mode is None and settings.kamailio_db_mode is None:
        yield Finding(
            "node_db_mode",
            Severity.FAULT,
            f"{name} does not tell its db_mode",
            "flushes assume the worst mode: they take longer and are less exact",
            f"{INCLUDE}, or set REGISTRATIONS_KAMAILIO_DB_MODE",
        )
    elif told.db_mode == 0:
        yield Finding(
            "node_db_mode",
            Severity.FAULT,
            f"{name} keeps its bindings in memory alone (db_mode 0)",
            "lists are empty or outdated",
            "define WITH_USRLOCDB, or set KAMAILIO_DB_MODE=1, 2 or 3",
        )
    elif told.db_mode is not None and settings.kamailio_db_mode not in (None, told.db_mode):
        yield Finding(
            "node_db_mode",
            Severity.FAULT,
            f"{name} runs in db_mode {told.db_mode}, REGISTRATIONS_KAMAILIO_DB_MODE says {settings.kamailio_db_mode}",
            "flushes trust rows or memory where they should not",
            "unset or correct REGISTRATIONS_KAMAILIO_DB_MODE",
        )
    elif told.db_mode == 2:
        yield Finding(
            "node_writes_late",
            Severity.NOTE,
            f"{name} runs in db_mode 2",
            "lists lag by up to usrloc's timer_interval, and a crash loses what was not written yet",
            "set KAMAILIO_DB_MODE=1, if PostgreSQL can take a statement for each REGISTER",
        )
    if told.expires_type is not None and facts is not None and told.expires_type != int(not facts.has_zone):
        yield Finding(
            "node_expires_type",
            Severity.FAULT,
            f"{name} runs with expires_type {told.expires_type}, but the column expires is {facts.expires_type}",
            "every REGISTER is answered with 500",
            f"set KAMAILIO_EXPIRES_TYPE={int(not facts.has_zone)} and restart Kamailio",
        )
    if told.server_id is not None and node not in (LOCAL_NODE, told.server_id):
        yield Finding(
            "node_server_id",
            Severity.FAULT,
            f"{name} has the server_id {told.server_id}",
            "flushes of its registrations go to another node",
            "correct REGISTRATIONS_KAMAILIO_RPC or KAMAILIO_SERVER_ID",
        )


def check_matching(name: str, url: str, told: Survey) -> Iterator[Finding]:
    """Report a matching_mode in which our transport cannot remove one binding of several."""
    if told.matching_mode and not url.startswith("http:"):
        yield Finding(
            "node_matching_mode",
            Severity.WARNING,
            f"{name} runs in matching_mode {told.matching_mode}, and REGISTRATIONS_KAMAILIO_RPC has no HTTP URL for it",
            "a retry of a flush cannot remove one of several phones of an AoR, so the flush stays pending "
            "until that phone's binding expires",
            "use HTTP (KAMAILIO_RPC_LISTEN), which removes one binding in any mode",
        )


def check_clock(name: str, told: Survey, *, clock: float, facts: Facts | None) -> Iterator[Finding]:
    """Report a node whose time zone is not that of its TIMESTAMP columns, or whose clock is wrong.

    Args:
        name: of the node, for the operator.
        told: its answers.
        clock: PostgreSQL's clock at the moment of the node's answer, epoch seconds.
        facts: about the database; None if it is unreachable.
    """
    if told.wall_epoch is None:
        return
    ahead = told.wall_epoch - clock
    offset = round(ahead / ZONE_STEP_SECONDS) * ZONE_STEP_SECONDS
    if facts is not None and facts.has_zone and offset != facts.zone_offset:
        yield Finding(
            "node_zone",
            Severity.FAULT,
            f"{name} runs {timedelta(seconds=abs(offset))} {'ahead of' if offset > 0 else 'behind'} UTC, which is not "
            f"{facts.timezone}",
            "it writes its wall clock into TIMESTAMP columns: lists show phones that are gone, or none",
            "set REGISTRATIONS_KAMAILIO_TIMEZONE and run `registrations-db migrate`, or run Kamailio with TZ=UTC",
        )
    skew = ahead - offset
    if abs(skew) > SKEW_SECONDS:
        yield Finding(
            "node_clock",
            Severity.WARNING,
            f"the clock of {name} is {abs(skew):.0f} seconds {'ahead of' if skew > 0 else 'behind'} PostgreSQL's",
            "a flush compares seconds: it may mistake a new registration for an old one, or an old one for a new one",
            "synchronise the clocks of both machines with NTP",
        )
