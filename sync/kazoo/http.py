"""HTTP to a Kazoo that is not trusted: an answer has limits in bytes and in time, and the wait for one can be ended.

Nothing is followed and nothing is decompressed: no redirect carries the key elsewhere, no gzip fills the memory.
"""

import http.client
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from email.message import Message
from ipaddress import ip_address
from threading import Thread
from time import monotonic
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from sql.errors import KazooRefused

ANSWER_BYTES = 8 << 20
LOOK_SECONDS = 0.2
PART_BYTES = 65536
URL = re.compile(r"[^\s?#\\\x00-\x1f\x7f]+")  # neither query nor fragment


class Answer(NamedTuple):
    """One answer, read to its end."""

    status: int
    headers: Message
    body: bytes


class KazooHttp:
    """One connection to Kazoo, kept from request to request. Not to be shared between threads."""

    def __init__(self, url: str, *, plain_http: bool, seconds: float, wait: Callable[[float], object]) -> None:
        """Ask nothing yet.

        Args:
            url: where Crossbar is.
            plain_http: whether ``http:`` may go over a network, where others can read the key.
            seconds: for one answer as a whole.
            wait: called with 0 while an answer is waited for; raises, should it be time to end.

        Raises:
            KazooRefused: that is no URL of a Kazoo, or the key would be readable on its way or in the URL.
        """
        self._parts = _checked(url, plain_http=plain_http)
        self._seconds = seconds
        self._wait = wait
        self._connection = self._new_connection()

    def ask(self, method: str, target: str, *, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Send a request and read the answer to it, whatever its status.

        A thread of its own does that: a timeout of sockets begins anew with each byte, and does not hear of a stop.

        Args:
            method: of HTTP.
            target: path below the URL, with the query.
            headers: besides those of every request.
            body: if there is one.

        Raises:
            KazooRefused: the answer is too large or compressed, or the certificate is not valid.
            OSError, http.client.HTTPException: no answer, or not all of it, or not within the seconds.
        """
        connection = self._connection
        answer: Future[Answer] = Future()

        def talk() -> None:
            try:
                connection.request(method, self._parts.path + target, body, dict(headers))
                answer.set_result(_read(connection))
            except BaseException as error:  # raised below, where the answer is waited for
                answer.set_exception(error)

        ends = monotonic() + self._seconds
        Thread(target=talk, name="kazoo", daemon=True).start()
        try:
            while not wait((answer,), LOOK_SECONDS).done:
                self._wait(0)
                if monotonic() >= ends:
                    raise TimeoutError
            return answer.result()
        except BaseException as error:
            connection.give_up()
            answer.add_done_callback(lambda _: connection.close())
            self._connection = self._new_connection()
            if isinstance(error, ssl.SSLCertVerificationError):
                raise KazooRefused(
                    f"the certificate of {self._parts.netloc} is not valid: {error.verify_message}; if a CA of your "
                    "own signed it, make this system trust that CA, or name its file in SSL_CERT_FILE"
                ) from error
            raise

    def close(self) -> None:
        """Close the connection; the next request makes one."""
        self._connection.close()

    def _new_connection(self) -> "_Connection":
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "http":
            return _Connection(host, port or http.client.HTTP_PORT, timeout=self._seconds)
        verifying = ssl.create_default_context()
        return _TlsConnection(host, port or http.client.HTTPS_PORT, timeout=self._seconds, context=verifying)


class _Connection(http.client.HTTPConnection):
    """One that another thread can end, whatever it waits for but the connect, which has a timeout."""

    _given_up = False
    _socket: socket.socket | None = None  # http.client forgets its own when the answer says "close"

    def connect(self) -> None:
        super().connect()
        self._socket = self.sock
        if self._given_up:
            self.close()
            raise ConnectionAbortedError

    def give_up(self) -> None:
        self._given_up = True
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:  # it is closed already
                return


class _TlsConnection(_Connection, http.client.HTTPSConnection):
    """The same, with the certificate verified."""


def _checked(url: str, *, plain_http: bool) -> SplitResult:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        fit = parts.scheme in {"http", "https"} and host and parts.port != 0 and URL.fullmatch(url)
    except ValueError:
        fit = None
    if "@" in url:
        raise KazooRefused("Kazoo's URL has a user or a password; the key is all that is needed")
    if not fit:
        raise KazooRefused("Kazoo's URL must be like https://kazoo.example.com:8443")
    if parts.scheme == "http" and not plain_http and not _is_loopback(parts.hostname or ""):
        raise KazooRefused(
            f"Kazoo's URL begins with http: whoever sees the network on the way to {parts.hostname} could read the key "
            "and all passwords; use https, or set REGISTRATIONS_KAZOO_PLAIN_HTTP=true"
        )
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(connection: _Connection) -> Answer:
    with connection.getresponse() as response:
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise KazooRefused("the answer is compressed, which was not asked for")
        body = bytearray()
        # read1, for read(n) of a chunk that says it has -1 bytes takes all that comes.
        while part := response.read1(PART_BYTES):
            body += part
            if len(body) > ANSWER_BYTES:
                raise KazooRefused(f"the answer has more than {ANSWER_BYTES:,} bytes")
        if response.length:
            raise http.client.IncompleteRead(bytes(body), response.length)
        return Answer(response.status, response.headers, bytes(body))
