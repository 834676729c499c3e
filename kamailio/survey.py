"""What a node says about itself over JSON-RPC: version, clock, commands, parameters of usrloc.

Owns the questions, none of which changes anything. The caller judges the answers.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from urllib.parse import urlsplit, urlunsplit

from kamailio.errors import NOT_SERVED, KamailioError, KamailioUnreachable, RpcError, RpcProtocolError, UnnamedError
from kamailio.notify import probe
from kamailio.rpc import JsonRpcClient
from kamailio.transports.by_url import transport_for
from kamailio.usrloc import keeps_domains

# The commands that we use, each with arguments that change nothing. ul.rm and ul.rm_contact only report that they lack
# arguments.
COMMANDS: dict[str, tuple[str, ...]] = {
    "core.version": (),
    "core.uptime": (),
    "pv.shvGet": ("registrations_loaded",),
    "ul.lookup": (),
    "ul.rm": (),
    "ul.rm_contact": (),
    "tm.t_uac_start": probe(),
}
# Lists all commands: harmless, and registrations.cfg does not serve it over HTTP.
UNSERVED_COMMAND = "system.listMethods"
PROBE_SECONDS = 1.0
# From this version on Kamailio has modparam.getn. An older one logs an ERROR for a command that it does not have.
TELLS_PARAMETERS = (6, 1)
MODES = (1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A node's answers. None where it does not say (see `ask_parameter`).

    Attributes:
        version: such as `kamailio 5.6.3 (x86_64/linux)`.
        refused: commands that it does not serve, each with its answer.
        wall_epoch: its wall clock read as if it were UTC, epoch seconds at the middle of its second.
        asked_at: `time.monotonic` of that answer.
        loaded: whether usrloc has loaded its table.
        db_mode: 0 keeps bindings in memory only.
        server_id_filter: whether it loads and cleans only the rows of its own server_id.
        use_domain: whether usrloc refuses an AoR without a domain.
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
    """Ask a node about itself.

    Raises:
        KamailioUnreachable: no answer.
        RpcProtocolError: the server is not Kamailio.
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
        use_domain=keeps_domains(client),
    )


def _refuses(answer: object) -> bool:
    return isinstance(answer, RpcError) and (isinstance(answer, UnnamedError) or answer.message in NOT_SERVED)


def _ask(client: JsonRpcClient, command: str, *arguments: object) -> object | RpcError:
    try:
        return client.call(command, *arguments)
    except RpcError as error:
        return error


def _wall_clock(now: object) -> float | None:
    try:
        wall = datetime.strptime(str(now), "%a %b %d %H:%M:%S %Y")  # ctime(3), in Kamailio's own zone
    except ValueError:
        return None
    return wall.replace(tzinfo=UTC).timestamp() + 0.5


def uptime(client: JsonRpcClient) -> int:
    """Return the seconds since the node started. This is the cheapest way to see that it answers.

    Raises:
        KamailioUnreachable: no answer.
        RpcError: it refuses the command.
        RpcProtocolError: the result has an unexpected shape.
    """
    result = client.call("core.uptime")
    seconds = result.get("uptime") if isinstance(result, dict) else None
    if not isinstance(seconds, int):
        raise RpcProtocolError(f"{client.url} answered core.uptime in an unexpected form: {result!r:.200}")
    return seconds


def version_number(version: object) -> tuple[int, int] | None:
    """Return major and minor version from an answer to core.version, such as `kamailio 5.6.3 (x86_64/linux)`."""
    found = re.search(r"(\d+)\.(\d+)", str(version))
    return (int(found[1]), int(found[2])) if found else None


def ask_parameter(client: JsonRpcClient, name: str) -> int | None:
    """Return a numeric parameter of a node, such as usrloc's `expires_type`; None if it does not say.

    registrations.cfg keeps some in shared variables (module pv). From 6.1 on Kamailio tells usrloc's parameters itself.

    Raises:
        KamailioUnreachable: no answer.
    """
    for ask in (_ask_variable, _ask_usrloc):
        try:
            result = ask(client, name)
        except RpcError:
            continue
        value = str(result.get("value")) if isinstance(result, dict) else ""
        if value.isdecimal():
            return int(value)
    return None


def _ask_variable(client: JsonRpcClient, name: str) -> object:
    return client.call("pv.shvGet", f"registrations_{name}")


def _ask_usrloc(client: JsonRpcClient, name: str) -> object:
    number = version_number(client.call("core.version"))
    return client.call("modparam.getn", "usrloc", name) if number and number >= TELLS_PARAMETERS else None


def ask_mode(client: JsonRpcClient) -> int | None:
    """Return usrloc's db_mode at a node: 1, 2 or 3; None if it does not say, or keeps its bindings in memory only.

    Raises:
        KamailioUnreachable: no answer.
    """
    mode = ask_parameter(client, "db_mode")
    return mode if mode in MODES else None


def require_loaded(client: JsonRpcClient) -> None:
    """Refuse a node that has just started: while usrloc loads its table, a binding that is not in memory is not gone.

    Raises:
        KamailioUnreachable: it is loading, or does not answer. Without registrations.cfg it counts as loaded.
    """
    try:
        result = _ask_variable(client, "loaded")
    except RpcError:
        return
    if isinstance(result, dict) and str(result.get("value")) == "0":
        raise KamailioUnreachable(client.url, "usrloc is loading its table")


def does_everything(client: JsonRpcClient) -> bool:
    """Whether a node serves every command, and not only those of registrations.cfg.

    Raises:
        KamailioUnreachable: no answer.
    """
    return not _refuses(_ask(client, UNSERVED_COMMAND))


def is_loopback(host: str) -> bool:
    """Whether a URL's host is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serving(url: str, addresses: Iterable[str]) -> list[str]:
    """Return those of the addresses at which the port of an HTTP URL serves our commands."""
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
