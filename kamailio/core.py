"""Kamailio's own RPC commands (core, cmd core.*)."""

from kamailio.rpc import JsonRpcClient


def uptime(client: JsonRpcClient) -> int:
    """Seconds since the node was started; the cheapest way to see that it answers.

    Raises:
        KamailioUnreachable: it does not.
        RpcError: it refuses the command.
    """
    result = client.call("core.uptime")
    return int(result["uptime"]) if isinstance(result, dict) else 0
