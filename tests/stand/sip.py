"""SIP messages of the stand's phones, and their framing on a stream. No sockets and no threads."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

COMPACT = {
    "b": "Referred-By",
    "c": "Content-Type",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
}
"""Compact header names (RFC 3261 section 20 and the extensions' own RFCs)."""

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_CONTENT_LENGTH = re.compile(rb"^(?:content-length|l)[ \t]*:[ \t]*(\d+)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_PARAMETER = re.compile(r'([\w.+-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,;]+))')


class MalformedMessage(ValueError):
    """These bytes are not a SIP message (RFC 3261 section 7)."""


class Headers:
    """Header fields in order. Names match in any case, in long or compact form."""

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields = [(COMPACT.get(name.lower(), name), value) for name, value in fields]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._fields)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __repr__(self) -> str:
        return f"Headers({self._fields!r})"

    def get(self, name: str) -> str | None:
        """The first value of this name, or None."""
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> list[str]:
        """Every value of this name in order, one for each header line."""
        wanted = COMPACT.get(name.lower(), name).lower()
        return [value for each, value in self._fields if each.lower() == wanted]

    def listed(self, name: str) -> list[str]:
        """Every element of a comma-separated header such as Via, in order (RFC 3261 section 7.3.1)."""
        return [element for value in self.all(name) for element in split_list(value)]


@dataclass(frozen=True, kw_only=True)
class Message(ABC):
    """What requests and responses have in common."""

    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @property
    @abstractmethod
    def start_line(self) -> str:
        """The request line or the status line."""

    @property
    def branch(self) -> str:
        """The branch of the topmost Via, or "" (RFC 3261 section 8.1.1.7)."""
        vias = self.headers.listed("Via")
        return parameters(vias[0].partition(";")[2]).get("branch", "") if vias else ""

    @property
    def cseq(self) -> tuple[int, str]:
        """CSeq as number and method; raises MalformedMessage if it is malformed."""
        number, _, method = (self.headers.get("CSeq") or "").partition(" ")
        if not number.isdecimal():
            raise MalformedMessage(f"CSeq {self.headers.get('CSeq')!r} in {self.start_line!r}")
        return int(number), method.strip()

    @property
    def contacts(self) -> dict[str, dict[str, str]]:
        """Each Contact's URI and parameters, e.g. `{"sip:a@b": {"expires": "60"}}` (lower-case names)."""
        return dict(parse_address(element) for element in self.headers.listed("Contact"))

    def encode(self) -> bytes:
        """The bytes to send, with Content-Length. Surrogates become the bytes that they stand for."""
        fields = [each for each in self.headers if each[0].lower() != "content-length"]
        lines = [self.start_line, *(f"{name}: {value}" for name, value in fields)]
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + self.body


@dataclass(frozen=True)
class Request(Message):
    """A SIP request."""

    method: str
    uri: str

    @property
    def start_line(self) -> str:
        """The request line."""
        return f"{self.method} {self.uri} SIP/2.0"

    def answer(self, status: int, reason: str, *, to_tag: str, more: Iterable[tuple[str, str]] = ()) -> "Response":
        """The response to this request: headers copied by RFC 3261 section 8.2.6.2, then `more`."""
        copied = [(name, value) for name, value in self.headers if name.lower() in _COPIED]
        tagged = [(n, f"{v};tag={to_tag}" if n.lower() == "to" and ";tag=" not in v else v) for n, v in copied]
        return Response(status, reason, headers=Headers([*tagged, *more]))


_COPIED = {"via", "from", "to", "call-id", "cseq", "record-route"}


@dataclass(frozen=True)
class Response(Message):
    """A SIP response."""

    status: int
    reason: str

    @property
    def start_line(self) -> str:
        """The status line."""
        return f"SIP/2.0 {self.status} {self.reason}"

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


def parse(data: bytes) -> Request | Response:
    """Parse one datagram, one WebSocket message or one frame of a stream.

    Bytes that are not UTF-8 stay readable as surrogates (PEP 383). Raises MalformedMessage.
    """
    end = _END_OF_HEAD.search(data)
    head = data[: end.start()] if end else data
    body = data[end.end() :] if end else b""
    text = re.sub(r"\r?\n[ \t]+", " ", head.decode("utf-8", "surrogateescape"))  # folded lines, RFC 3261 7.3.1
    first, *rest = re.split(r"\r?\n", text)
    fields = []
    for line in filter(None, rest):
        name, colon, value = line.partition(":")
        if not colon:
            raise MalformedMessage(f"no header: {line!r}")
        fields.append((name.strip(), value.strip()))
    headers = Headers(fields)
    length = headers.get("Content-Length")
    if length is not None and length.isdecimal():
        body = body[: int(length)]  # RFC 3261 section 18.3: bytes of a datagram after the body are discarded
    start = first.split(" ", 2)
    if start[0] == "SIP/2.0" and len(start) >= 2 and start[1].isdecimal():
        return Response(int(start[1]), start[2] if len(start) == 3 else "", headers=headers, body=body)
    if len(start) == 3 and start[2] == "SIP/2.0":
        return Request(start[0], start[1], headers=headers, body=body)
    raise MalformedMessage(f"no SIP start line: {first!r}")


class Frames:
    """Splits a stream into messages by Content-Length (RFC 3261 section 18.3).

    CRLF keep-alives between messages are dropped (RFC 5626 section 3.5.1).
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Add the bytes that were read, and return all messages that are now complete."""
        self._rest += data
        complete: list[bytes] = []
        while True:
            self._rest = self._rest.lstrip(b"\r\n")
            end = _END_OF_HEAD.search(self._rest)
            if end is None:
                return complete
            length = _CONTENT_LENGTH.search(self._rest, 0, end.start() + 1)
            size = end.end() + (int(length[1]) if length else 0)
            if len(self._rest) < size:
                return complete
            complete.append(self._rest[:size])
            self._rest = self._rest[size:]


def split_list(value: str) -> list[str]:
    """Split a comma-separated header value. Commas in quotes or angle brackets do not separate."""
    parts = re.findall(r'(?:"(?:[^"\\]|\\.)*"|<[^>]*>|[^,])+', value)
    return [part.strip() for part in parts if part.strip()]


def parameters(text: str) -> dict[str, str]:
    """Parse `a=1;b="2"` or `a=1, b="2"` into a dictionary. Names in lower case; parameters without value left out."""
    return {
        found[1].lower(): re.sub(r"\\(.)", r"\1", found[2]) if found[3] is None else found[3]
        for found in _PARAMETER.finditer(text)
    }


def parse_address(text: str) -> tuple[str, dict[str, str]]:
    """Parse a name-addr or an addr-spec into URI and header parameters (RFC 3261 section 20.10)."""
    bracketed = re.match(r'(?:"(?:[^"\\]|\\.)*"|[^<"])*<([^>]*)>(.*)', text, re.DOTALL)
    uri, rest = (bracketed[1], bracketed[2]) if bracketed else text.partition(";")[::2]
    return uri.strip(), parameters(rest)


def escape_user(user: str) -> str:
    """Escape the user part of a SIP URI: all but unreserved and user-unreserved (RFC 3261 section 25.1)."""
    return quote(user, safe="-_.!~*'()&=+$,;?/")


def host_port(host: str, port: int) -> str:
    """Return `host:port`, with IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
