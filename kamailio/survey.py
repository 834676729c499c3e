"""What a node tells of itself over JSON-RPC: version, clock, which commands it does, how its usrloc is set.

Owns what can be asked without changing anything; what follows from the answers is the caller's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from urllib.parse import urlsplit, urlunsplit

from kamailio.core import version_number
from kamailio.errors import KamailioError, RpcError, UnnamedError
from kamailio.nodes import ask_parameter
from kamailio.notify import probe
from kamailio.rpc import JsonRpcClient
from kamailio.transports.by_url import transport_for

# With which arguments each is asked. Those that change something answer that they lack them; for NOTIFY see `probe`.
COMMANDS: dict[str, tuple[str, ...]] = {
    "core.version": (),
    "core.uptime": (),
    "pv.shvGet": ("registrations_loaded",),
    "ul.lookup": (),
    "ul.rm": (),
    "ul.rm_contact": (),
    "tm.t_uac_start": probe(),
}
# The whole list of commands: harmless, and not among those that registrations.cfg serves over HTTP.
UNSERVED_COMMAND = "system.listMethods"
NOT_SERVED = "Method Not Found"
USES_DOMAIN = "Domain missing in AOR"
PROBE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """One node's answers. None where it does not say (see `kamailio.nodes.ask_parameter`).

    Attributes:
        version: as it names itself, such as `kamailio 5.6.3 (x86_64/linux)`.
        refused: commands that it does not do, each with its answer.
        wall_epoch: its wall clock read as if it were UTC, epoch seconds at the middle of its second.
        asked_at: `time.monotonic` of that answer.
        loaded: whether usrloc has loaded its table.
        db_mode: 0 keeps bindings in memory alone.
        server_id_filter: whether it loads and cleans the rows of its own server_id alone.
        use_domain: of usrloc: an AoR without a domain is refused.
    """

    version: str | None
    refused: dict[str, RpcError]
    wall_epoch: float | None
    asked_at: float
    loaded: bool | None
    db_mode: int | None
    expires_type: int | None
    server_id: int | None
    server_id_filter: int | None
    matching_mode: int | None
    use_domain: bool

    @property
    def number(self) -> tuple[int, int] | None:
        """Major and minor version."""
        return version_number(self.version)


def survey(client: JsonRpcClient) -> Survey:
    """Ask a node; nothing changes there.

    Raises:
        KamailioUnreachable: it does not answer.
        RpcProtocolError: what answers is no Kamailio.
    """
    answers = {command: _ask(client, command, *arguments) for command, arguments in COMMANDS.items()}
    uptime, asked_at = answers["core.uptime"], monotonic()
    loaded = ask_parameter(client, "loaded")
    return Survey(
        version=version.strip() if isinstance(version := answers["core.version"], str) else None,
        refused={
            command: answer for command, answer in answers.items() if isinstance(answer, RpcError) and _refuses(answer)
        },
        wall_epoch=_wall_clock(uptime.get("now")) if isinstance(uptime, dict) else None,
        asked_at=asked_at,
        loaded=None if loaded is None else bool(loaded),
        db_mode=ask_parameter(client, "db_mode"),
        expires_type=ask_parameter(client, "expires_type"),
        server_id=ask_parameter(client, "server_id"),
        server_id_filter=ask_parameter(client, "server_id_filter"),
        matching_mode=ask_parameter(client, "matching_mode"),
        use_domain=isinstance(answer := _ask(client, "ul.lookup", "location", "nobody"), RpcError)
        and answer.message == USES_DOMAIN,
    )


def _refuses(answer: object) -> bool:
    return isinstance(answer, UnnamedError) or (isinstance(answer, RpcError) and answer.message == NOT_SERVED)


def _ask(client: JsonRpcClient, command: str, *arguments: object) -> object | RpcError:
    try:
        return client.call(command, *arguments)
    except RpcError as error:
        return error


def _wall_clock(now: object) -> float | None:
    try:
        wall = datetime.strptime(str(now), "%a %b %d %H:%M:%S %Y")  # ctime(3), of Kamailio's own zone
    except ValueError:
        return None
    return wall.replace(tzinfo=UTC).timestamp() + 0.5


def does_everything(client: JsonRpcClient) -> bool:
    """Whether a node does any command whatever, and not only those of registrations.cfg.

    Raises:
        KamailioUnreachable: it does not answer.
    """
    return not _refuses(_ask(client, UNSERVED_COMMAND))


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine's alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serving(url: str, addresses: Iterable[str]) -> list[str]:
    """Those addresses at which the port of an HTTP URL does what it is asked, instead of refusing or being closed."""
    return [address for address in addresses if _serves(url, address)]


def _serves(url: str, address: str) -> bool:
    parts = urlsplit(url)
    host = f"[{address}]" if ":" in address else address
    there = urlunsplit(parts._replace(netloc=f"{host}:{parts.port}"))
    try:
        with JsonRpcClient(transport_for(there), timeout=PROBE_SECONDS) as client:
            return not _refuses(_ask(client, "core.version"))
    except KamailioError:  # closed, or something else listens there
        return False
