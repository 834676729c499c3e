"""Chooses the transport of JSON-RPC by URL. To add one, write its class and add its scheme here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from kamailio.transports.base import Transport
from kamailio.transports.datagram import udp_transport, unix_transport
from kamailio.transports.fifo import FifoTransport
from kamailio.transports.http import HttpTransport
from kamailio.transports.kamctl import KamctlTransport

BY_SCHEME: Mapping[str, Callable[[str], Transport]] = {
    "http": HttpTransport,
    "unix": unix_transport,
    "udp": udp_transport,
    "fifo": FifoTransport,
    "kamctl": KamctlTransport,
}


def transport_for(url: str) -> Transport:
    """Return the transport for a URL. It does not connect yet.

    Args:
        url: `http://127.0.0.1:5097/RPC`; `unix:/run/kamailio/kamailio_rpc.sock` or `udp:127.0.0.1:5098` for jsonrpcs'
            dgram_socket; `fifo:/run/kamailio/kamailio_rpc.fifo`; `kamctl:` or `kamctl:/usr/sbin/kamctl`, with
            `?fifo=/path` for its RPCFIFOPATH. The last two take `reply_dir=/directory/` if Kamailio's fifo_reply_dir
            is not /tmp/.

    Raises:
        ValueError: no transport has this scheme, or the URL is incomplete.
    """
    scheme, colon, _ = url.partition(":")
    if not colon or scheme not in BY_SCHEME:
        raise ValueError(
            f"no transport for {url!r}: use http://host:port/RPC, unix:/path, udp:host:port, fifo:/path or kamctl:"
        )
    return BY_SCHEME[scheme](url)


def reply_directory(url: str) -> Path | None:
    """Return the directory of the reply FIFOs; None if the transport has none.

    Raises:
        ValueError: as `transport_for`.
    """
    transport = transport_for(url)
    return transport.reply_directory if isinstance(transport, FifoTransport | KamctlTransport) else None


def request_path(url: str) -> Path | None:
    """Return the path of Kamailio's unix socket or FIFO; None if the transport opens neither.

    Raises:
        ValueError: as `transport_for`.
    """
    transport = transport_for(url)
    if isinstance(transport, FifoTransport):
        return transport.path
    return Path(url.removeprefix("unix:")) if url.startswith("unix:") else None
