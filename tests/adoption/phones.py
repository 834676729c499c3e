"""The table of phones: what each sends, where it listens, and how it is called.

Add a phone as one line of KINDS. `contact`, `headers` and `call` may use `{user}`, `{own}` (host:port of the socket
that registers) and `{at}` (host:port of the second socket, which listens). `\\udce9` is the byte E9, which is not
UTF-8 (PEP 383).
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Literal

from tests.stand.sip_transport import TransportName

REALM = "example.com"
PASSWORD = "secret"  # for every phone and for the caller


@dataclass(frozen=True)
class Kind:
    """One kind of phone.

    Attributes:
        name: its name in the table and in the tests.
        needs: name of the feature without which it cannot reach the proxy.
        user: user part of its AoR, unescaped, and its digest user; default: the name. Two kinds may share one.
        transport: the transport for REGISTER.
        contact: URI, or whole header value with `<>`; default: the socket's own address.
        listens: transport of a second socket, which never registers.
        listens_at: host of that socket, on loopback so that nothing leaves this machine.
        closes: whether it closes its connection after each REGISTER.
        sent_by: the address in its Via, in place of its own.
        agent: its User-Agent.
        headers: further header fields of its REGISTERs.
        aor: To, if it is not `sip:USER@REALM`.
        sender: From of a third-party REGISTER.
        instance: URN of +sip.instance, sent with reg-id=1.
        expires: seconds that it asks for. A phone that asks for less than ten is called after they have expired.
        call: URI for calls, if it is not the AoR.
        method: the method of calls.
        answer: its answer to a call. Where several sockets ring, an error, so that the caller waits for all of them.
        star: whether it un-registers with `Contact: *`.
        proxy: address of the proxy for this phone.
    """

    name: str
    needs: str = ""
    user: str = ""
    transport: TransportName = "udp"
    contact: str = ""
    listens: Literal["", "udp", "tcp"] = ""
    listens_at: str = "127.0.0.1"
    closes: bool = False
    sent_by: str = ""
    agent: str = "Phone/1.0"
    headers: tuple[tuple[str, str], ...] = ()
    aor: str = ""
    sender: str = ""
    instance: str = ""
    expires: int = 600
    call: str = ""
    method: str = "MESSAGE"
    answer: tuple[int, str] = (200, "OK")
    star: bool = False
    proxy: str = "127.0.0.1"

    @property
    def username(self) -> str:
        """User part of its AoR, unescaped."""
        return self.user or self.name


BUSY = (480, "Temporarily Unavailable")
PRIVATE = "127.0.0.99"  # stands for an address behind a NAT: packets come from another one
NOWHERE = "192.0.2.7:5060"  # for documentation (RFC 5737): calls fail at once, or follow the Path
URN = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
OWN = "sip:{user}@{own}"
PUSH = f"{OWN};pn-provider=apns;pn-param=ABCDE12345.com.example.app;pn-prid="
KINDS = (
    Kind("udp"),
    Kind("called by INVITE", user="invite", method="INVITE"),
    Kind("behind NAT", user="nat", contact="sip:{user}@{at}", sent_by="{at}", listens="udp", listens_at=PRIVATE),
    Kind("Cisco 79xx", user="2010", contact="sip:{user}@{at};transport=udp", sent_by="{at}", listens="udp"),
    Kind("tcp", transport="tcp"),
    Kind(
        "tcp, closed",
        user="closed",
        transport="tcp",
        contact="sip:{user}@{at};transport=tcp",
        listens="tcp",
        closes=True,
    ),
    Kind("tcp, unreachable", user="gone", transport="tcp", closes=True),
    Kind("websocket", needs="websocket", transport="ws", contact="sip:{user}@df7jal23ls0d.invalid;transport=ws"),
    Kind(
        "websocket, an address",
        needs="websocket",
        user="ws-address",
        transport="ws",
        contact="sip:{user}@192.0.2.7;transport=ws",
    ),
    Kind("edge", contact=f"sip:{{user}}@{NOWHERE}", headers=(("Path", "<sip:{own};lr>"),)),
    Kind(
        "edge by received",
        user="edge2",
        contact=f"sip:{{user}}@{NOWHERE}",
        headers=(("Path", f"<sip:{{own}};lr;received=sip:{NOWHERE}>"),),
    ),
    Kind(
        "two edges",
        user="edges",
        contact=f"sip:{{user}}@{NOWHERE}",
        headers=(("Path", f"<sip:{{own}};lr>,<sip:{NOWHERE};lr>"),),
    ),
    Kind("contact's received", user="rcv", contact='<sip:{user}@127.0.0.98:9>;received="sip:{at}"', listens="udp"),
    Kind("GRUU", user="gruu", instance=URN, call=f"sip:{{user}}@{REALM};gr={URN}"),
    Kind("outbound", instance=URN, headers=(("Path", "<sip:{own};lr;ob>"),)),
    Kind("reg-id 0", user="regid", contact=f'<{OWN}>;+sip.instance="<{URN}>";reg-id=0'),
    Kind("IPv6", user="six", proxy="::1"),
    Kind(
        "two contacts", user="pair", contact=f"<{OWN}>;q=0.7, <sip:{{user}}@{{at}}>;q=0.7", listens="udp", answer=BUSY
    ),
    Kind("desk of a pair", user="shared", answer=BUSY),
    Kind("mobile of a pair", user="shared", answer=BUSY),
    Kind("push", contact=PUSH + 380 * "e"),
    Kind("push, 642", user="push642", contact=PUSH + 540 * "e"),
    Kind("Latin-1 agent", user="latin1", agent="T\udce9l\udce9phone/1.0"),
    Kind("Latin-1 agent, folded", user="latin1-fold", agent="T\udce9l\udce9phone/1.0\r\n (folded)"),
    Kind("Latin-1 contact", user="latin1-contact", contact="sip:caf\udce9@{own}"),
    Kind("Latin-1 display name", user="latin1-name", contact=f'"Caf\udce9" <{OWN}>'),
    Kind(
        "Latin-1 path",
        user="latin1-path",
        contact=f"sip:{{user}}@{NOWHERE}",
        headers=(("Path", "<sip:\udce9dge@{own};lr>"),),
    ),
    Kind("apostrophe", agent="LinphoneiOS/4.5.1 (Anna\u2019s iPhone)"),
    Kind("Cyrillic", agent="LinphoneAndroid/4.6 (Света)"),
    Kind("folded agent", user="folded", agent="Phone/1.0\r\n (folded)"),
    Kind("agent of 300", user="longagent", agent="Phone/" + 294 * "9"),
    Kind("umlaut", user="jörg", aor=f"sip:jörg@{REALM}"),
    Kind("umlaut, escaped", user="jürgen"),
    Kind("umlaut in the contact", user="contact-umlaut", contact="sip:jörg@{own}"),
    Kind("e-mail", user="anna@corp.example"),
    Kind("number", user="+4930123456"),
    Kind("upper case", user="Bob"),
    Kind("blank", user="meeting room"),
    Kind("no user", user="nobody", aor=f"sip:{REALM}", call=f"sip:{REALM}"),
    Kind("other domain", user="foreign", aor="sip:foreign@other.example.com"),
    Kind("third party", user="boss", sender=f"sip:assistant@{REALM}"),
    Kind("no MESSAGE", user="voice", headers=(("Allow", "INVITE, ACK, BYE, CANCEL"),)),
    Kind("un-registers all", user="star", star=True),
    Kind("short", user="short", expires=1),
)


def has_ipv6() -> bool:
    """Whether this machine has ::1; a container may not."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True
