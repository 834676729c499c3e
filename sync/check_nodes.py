"""What a check says of the nodes of Kamailio: whether they answer, how they are set, and who else may ask them."""

import socket
from collections.abc import Iterator, Mapping
from datetime import timedelta
from time import monotonic
from urllib.parse import urlsplit

import psutil

from kamailio.errors import KamailioError
from kamailio.nodes import Nodes
from kamailio.rpc import JsonRpcClient
from kamailio.settings import LOCAL_NODE, KamailioSettings
from kamailio.survey import Survey, does_everything, is_loopback, serving, survey
from sql.check import Facts
from sql.check_rows import COUNT_LIMIT
from sql.finding import Finding, Severity, stands
from sync.check_replies import check_replies

OLDEST_VERSION = (5, 6)
SKEW_SECONDS = 2.5
# Every zone there is, and was since 1972, is some quarters of an hour from UTC.
ZONE_STEP_SECONDS = 900
INCLUDE = 'make include_file "registrations.cfg" the last line of its kamailio.cfg and restart it'


def check_server_ids(nodes: Nodes, rows: Mapping[int, int]) -> Iterator[Finding]:
    """Tell rows of nodes that are not named; a single node without a server_id stands for all."""
    unknown = {server_id: count for server_id, count in rows.items() if server_id not in nodes.ids}
    if not unknown or nodes.ids == (LOCAL_NODE,):
        return
    counted = ", ".join(
        f"{server_id} ({'over ' if count == COUNT_LIMIT else ''}{count})" for server_id, count in unknown.items()
    )
    yield Finding(
        "server_id_unknown",
        Severity.WARNING,
        f"rows have a server_id that is no node's: {counted}",
        "their flush is sent to every node, and the one that has them may not be among these",
        "name that node in REGISTRATIONS_KAMAILIO_RPC; what a node left behind that is no more, the worker removes "
        "when it has expired",
    )


def check_nodes(
    nodes: Nodes, settings: KamailioSettings, *, facts: Facts | None, now_epoch: float | None
) -> Iterator[Finding]:
    """Ask every node, all at once, and tell what was found.

    Args:
        nodes: which there are.
        settings: what they should be like.
        facts: of the database, when it could be asked.
        now_epoch: PostgreSQL's clock at this moment, when it could be asked.
    """
    started = monotonic()

    def ask(_: int, client: JsonRpcClient) -> tuple[Survey, bool]:
        return survey(client), does_everything(client)

    for node, answer in nodes.on_each(nodes.ids, ask).items():
        url = nodes.url(node)
        name = f"Kamailio at {url}" if node == LOCAL_NODE else f"node {node}, Kamailio at {url}"
        if isinstance(answer, KamailioError):
            yield Finding(
                "node_unreachable",
                Severity.FAULT,
                f"{name} cannot be asked: {answer}",
                "flushes of its registrations are not confirmed, check-sync cannot be sent",
                "start it, or correct REGISTRATIONS_KAMAILIO_RPC; over HTTP it must have KAMAILIO_RPC_LISTEN, see "
                "registrations.cfg",
            )
            continue
        told, everything = answer
        found = list(check_survey(name, told, node=node, settings=settings, facts=facts))
        if now_epoch is not None:
            clock = now_epoch + told.asked_at - started
            found += _check_clock(name, told, clock=clock, facts=facts)
        found += _check_exposure(name, url, everything=everything)
        found += check_replies(name, url)
        if not found:
            mode = f"db_mode {told.db_mode}, use_domain {int(told.use_domain)}"
            yield stands("node", f"{name}: {told.version}, {mode}, does every command, and for nobody else")
        yield from found


def check_survey(
    name: str, told: Survey, *, node: int, settings: KamailioSettings, facts: Facts | None
) -> Iterator[Finding]:
    """Tell what a node should not be like.

    Args:
        name: how to call it.
        told: its answers.
        node: its number in the settings.
        settings: what it should be like.
        facts: of the database, when it could be asked.
    """
    if told.refused:
        answers = ", ".join(f"{command} ({error.code} {error.message})" for command, error in told.refused.items())
        yield Finding(
            "node_commands",
            Severity.FAULT,
            f"{name} does not do {answers}",
            "lists work, but flushes or check-sync fail",
            "load usrloc, tm and pv; over HTTP serve them by route(REGISTRATIONS_RPC) of registrations.cfg, to this "
            "machine's address (KAMAILIO_RPC_CLIENTS) and at the path /RPC",
        )
    if told.number is not None and told.number < OLDEST_VERSION:
        yield Finding(
            "node_version",
            Severity.WARNING,
            f"{name} is {told.version}",
            "nothing was ever tried with it",
            "Kamailio 5.6 or newer",
        )
    if told.loaded is False:
        yield Finding(
            "node_loading",
            Severity.WARNING,
            f"{name} is still loading usrloc's table",
            "flushes wait for it",
            "wait; if it lasts, an event_route[core:worker-one-init] of your own lacks route(REGISTRATIONS_LOADED)",
        )
    if told.db_mode is None and settings.kamailio_db_mode is None:
        yield Finding(
            "node_db_mode",
            Severity.FAULT,
            f"{name} does not say its db_mode",
            "flushes count on the worst of all modes: they are slower to finish, and less exact",
            f"{INCLUDE}, or set REGISTRATIONS_KAMAILIO_DB_MODE",
        )
    elif told.db_mode is not None and settings.kamailio_db_mode not in (None, told.db_mode):
        yield Finding(
            "node_db_mode",
            Severity.FAULT,
            f"{name} runs in db_mode {told.db_mode}, REGISTRATIONS_KAMAILIO_DB_MODE says {settings.kamailio_db_mode}",
            "flushes trust rows, or memory, where they should not",
            "unset REGISTRATIONS_KAMAILIO_DB_MODE, or set it right",
        )
    elif told.db_mode == 2:
        yield Finding(
            "node_writes_late",
            Severity.NOTE,
            f"{name} runs in db_mode 2",
            "lists lag by up to usrloc's timer_interval, and a crash loses what was not written",
            "KAMAILIO_DB_MODE=1, if PostgreSQL bears a statement for each REGISTER",
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
            "flushes of its registrations are sent to another node",
            "correct REGISTRATIONS_KAMAILIO_RPC or KAMAILIO_SERVER_ID",
        )


def _check_clock(name: str, told: Survey, *, clock: float, facts: Facts | None) -> Iterator[Finding]:
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
            "a flush compares seconds: it may take a new registration for an old one, or the other way round",
            "let NTP set the clocks of both machines",
        )


def own_addresses() -> list[str]:
    """The addresses of this machine by which others may reach it."""
    return [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in (socket.AF_INET, socket.AF_INET6)
        and not is_loopback(address.address)
        and not address.address.startswith("fe80:")
    ]


def _check_exposure(name: str, url: str, *, everything: bool) -> Iterator[Finding]:
    scheme, _, rest = url.partition(":")
    if scheme not in ("http", "udp"):
        return
    host = urlsplit(url).hostname if scheme == "http" else rest.rpartition(":")[0].strip("[]")
    others = own_addresses() if scheme == "http" else []
    local = is_loopback(host or "")
    if scheme == "http" and local and (served := serving(url, others)):
        yield Finding(
            "rpc_exposed",
            Severity.FAULT,
            f"{name} does the same at {', '.join(served)}, which others may reach",
            "JSON-RPC has no password: whoever reaches it can remove registrations, and send requests in your name",
            "KAMAILIO_RPC_LISTEN=127.0.0.1 and KAMAILIO_RPC_CLIENTS=127.0.0.0/8, or a firewall",
        )
    if everything and (scheme == "http" or not local):
        yield Finding(
            "rpc_everything",
            Severity.WARNING if local else Severity.FAULT,
            f"{name} does every command for whoever reaches it",
            "JSON-RPC has no password: its users can stop Kamailio, rewrite its settings and, by datagram from 5.7 on, "
            "have it write files (`store_path`)",
            "serve HTTP by route(REGISTRATIONS_RPC) of registrations.cfg, which knows seven commands and no more; "
            "a datagram socket only on loopback, or as a file",
        )
    elif not local:
        yield Finding(
            "rpc_by_network",
            Severity.NOTE,
            f"{name} is asked over the network",
            "JSON-RPC has neither a password nor encryption",
            "let a firewall or a tunnel protect it, and KAMAILIO_RPC_CLIENTS name no more than it must",
        )
