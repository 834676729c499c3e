"""Checks of a node's JSON-RPC: whether our services can open it, who else can reach it or answer in its place."""

import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import psutil

from kamailio.survey import is_loopback, serving
from kamailio.transports.by_url import reply_directory, request_path
from sql.console.finding import Finding, Severity

NOBODY = 65534
GROUP = "kamailio"  # SupplementaryGroups= of our units
REPLIES_REMEDY = (
    'give the replies a directory of their own, see "Replies by FIFO" in kamailio/README.md; or use no FIFO'
)


def own_addresses() -> list[str]:
    """The addresses at which other machines may reach this one."""
    return [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in (socket.AF_INET, socket.AF_INET6)
        and not is_loopback(address.address)
        and not address.address.startswith("fe80:")
    ]


def check_exposure(name: str, url: str, *, everything: bool) -> Iterator[Finding]:
    """Report JSON-RPC that other machines can reach, or that serves every command.

    Args:
        name: of the node, for the operator.
        url: of its JSON-RPC.
        everything: whether the node serves commands that we do not need.
    """
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
            f"{name} also serves it at {', '.join(served)}, which others may reach",
            "JSON-RPC has no password: anybody who reaches it can remove registrations and send requests in your name",
            "set KAMAILIO_RPC_LISTEN=127.0.0.1 and KAMAILIO_RPC_CLIENTS=127.0.0.0/8, or use a firewall",
        )
    if everything and (scheme == "http" or not local):
        yield Finding(
            "rpc_everything",
            Severity.WARNING if local else Severity.FAULT,
            f"{name} serves every command to anybody who reaches it",
            "JSON-RPC has no password: its users can stop Kamailio, change its settings and, by datagram from 5.7 on, "
            "make it write files (`store_path`)",
            "serve HTTP by route(REGISTRATIONS_RPC) of registrations.cfg, which allows only seven commands; "
            "open a datagram socket only on loopback, or as a file",
        )
    elif not local:
        yield Finding(
            "rpc_by_network",
            Severity.NOTE,
            f"{name} is reached over the network",
            "JSON-RPC has neither a password nor encryption",
            "protect it by a firewall or a tunnel, and let KAMAILIO_RPC_CLIENTS name no more hosts than necessary",
        )


def check_access(name: str, url: str) -> Iterator[Finding]:
    """Report a unix socket or FIFO that only root can open. The worker and the API run in the group kamailio.

    Only root is told, because any other user of this check is refused as they are.

    Args:
        name: of the node, for the operator.
        url: of its JSON-RPC.
    """
    path = request_path(url)
    if path is None or os.geteuid() != 0:
        return
    try:
        # The kernel decides, because it also knows directories and access control lists.
        tried = subprocess.run(  # noqa: S603 - no shell
            ["/usr/bin/test", "-w", path], user=NOBODY, group=NOBODY, extra_groups=[GROUP], check=False
        )
    except (KeyError, OSError):  # no such group, so the units have another one; or root may not change users
        return
    if tried.returncode:
        parameter = "dgram_group" if url.startswith("unix:") else "fifo_group"
        yield Finding(
            "rpc_denied",
            Severity.FAULT,
            f"{name} answers root, but the group {GROUP} cannot open {path}",
            "the worker and the API run in this group: their flushes are not confirmed, and check-sync cannot be sent",
            f"start Kamailio as its own user (User=kamailio, as in Debian's unit) instead of as root with `-u`, or set "
            f'modparam("jsonrpcs", "{parameter}", "{GROUP}"), and restart it; let the group into {path.parent}',
        )


def check_replies(name: str, url: str) -> Iterator[Finding]:
    """Report reply FIFOs in a directory that every user may write to, such as /tmp, the default of jsonrpcs.

    Args:
        name: of the node, for the operator.
        url: of its JSON-RPC.
    """
    directory = reply_directory(url)
    mode = 0
    with suppress(OSError):  # somebody has removed it since
        mode = directory.stat().st_mode if directory else 0
    if not mode & stat.S_IWOTH:
        return
    if url.startswith("kamctl:"):
        why = "they can guess kamctl's reply FIFO and id, so they can read Kamailio's answers and replace them"
    else:
        why = "they cannot forge an answer but can destroy it, so that a flush is not confirmed"
    yield Finding(
        "rpc_replies_open",
        Severity.WARNING,
        f"{name} answers in {directory}, where every user may write",
        why,
        REPLIES_REMEDY,
    )
