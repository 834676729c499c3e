"""Kamailio's own RPC commands (core, cmd core.*)."""

import re

from kamailio.errors import RpcProtocolError
from kamailio.rpc import JsonRpcClient


def uptime(client: JsonRpcClient) -> int:
    """Seconds since the node was started; the cheapest way to see that it answers.

    Raises:
        KamailioUnreachable: it does not.
        RpcError: it refuses the command.
        RpcProtocolError: a result of another shape.
    """
    result = client.call("core.uptime")
    seconds = result.get("uptime") if isinstance(result, dict) else None
    if not isinstance(seconds, int):
        raise RpcProtocolError(f"{client.url} answered core.uptime with another shape: {result!r:.200}")
    return seconds


def version_number(version: object) -> tuple[int, int] | None:
    """Return major and minor version from what core.version answers, such as `kamailio 5.6.3 (x86_64/linux)`."""
    found = re.search(r"(\d+)\.(\d+)", str(version))
    return (int(found[1]), int(found[2])) if found else None
