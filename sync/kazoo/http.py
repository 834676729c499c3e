"""HTTP to a Kazoo that is not trusted: each answer has a limit in bytes and in time, and a wait for one can be ended.

Redirects are not followed, so the key goes nowhere else. Answers are not decompressed, so none fills the memory.
"""

import http.client
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from email.message import Message
from threading import Thread
from time import monotonic
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from kamailio.survey import is_loopback
from sync.kazoo.errors import KazooRefused

ANSWER_BYTES = 8 << 20
LOOK_SECONDS = 0.2
PART_BYTES = 65536
URL = re.compile(r"[^\s?#\\\x00-\x1f\x7f]+")  # neither query nor fragment


class Answer(NamedTuple):
    """One complete answer."""

    status: int
    headers: Message
    body: bytes


class KazooHttp:
    """A persistent connection to Kazoo. Not to be shared between threads."""

    def __init__(self, url: str, *, plain_http: bool, seconds: float, wait: Callable[[float], object]) -> None:
        """Sends no request yet.

        Args:
            url: of Crossbar.
            plain_http: allow ``http:`` to another machine, although others on the network can read the key.
            seconds: timeout of one complete answer.
            wait: called with 0 several times a second while a request runs; may raise to end it.

        Raises:
            KazooRefused: the URL is not valid for a Kazoo, has a password, or would send the key in the clear.
        """
        self._parts = _checked(url, plain_http=plain_http)
        self._seconds = seconds
        self._wait = wait
        self._connection = self._new_connection()

    def ask(self, method: str, target: str, *, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Send a request and read the answer, whatever its status.

        A separate thread does this, since the timeout of a socket starts again with each byte and cannot be
        interrupted.

        Args:
            method: GET or PUT.
            target: path below the URL, and the query.
            headers: of this request.
            body: of the request, if it has one.

        Raises:
            KazooRefused: the answer is too large or compressed, or the certificate is not valid.
            OSError, http.client.HTTPException: there was no complete answer within the timeout.
        """
        connection = self._connection
        answer: Future[Answer] = Future()

        def talk() -> None:
            try:
                connection.request(method, self._parts.path + target, body, dict(headers))
                answer.set_result(_read(connection))
            except BaseException as error:  # raised again by answer.result()
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
                    f"the certificate of {self._parts.netloc} is not valid: {error.verify_message}; if your own "
                    "CA signed it, add that CA to the system's, or name its file in SSL_CERT_FILE"
                ) from error
            raise

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def _new_connection(self) -> "_Connection":
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "http":
            return _Connection(host, port or http.client.HTTP_PORT, timeout=self._seconds)
        verifying = ssl.create_default_context()
        return _TlsConnection(host, port or http.client.HTTPS_PORT, timeout=self._seconds, context=verifying)


class _Connection(http.client.HTTPConnection):
    """A connection that another thread can end at any time, except during connect, which has a timeout."""

    _given_up = False
    _socket: socket.socket | None = None  # http.client drops its own after "Connection: close"

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
            except OSError:  # already closed
                return


class _TlsConnection(_Connection, http.client.HTTPSConnection):
    """The same over TLS; the server's certificate is verified."""


def _checked(url: str, *, plain_http: bool) -> SplitResult:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        fit = parts.scheme in {"http", "https"} and host and parts.port != 0 and URL.fullmatch(url)
    except ValueError:
        fit = None
    if "@" in url:
        raise KazooRefused("Kazoo's URL has a user or a password; the API key is enough")
    if not fit:
        raise KazooRefused("Kazoo's URL must be like https://kazoo.example.com:8443")
    if parts.scheme == "http" and not plain_http and not is_loopback(parts.hostname or ""):
        raise KazooRefused(
            f"Kazoo's URL begins with http: anyone on the network to {parts.hostname} could read the key and all "
            "passwords; use https, or set REGISTRATIONS_KAZOO_PLAIN_HTTP=true"
        )
    return parts


def _read(connection: _Connection) -> Answer:
    with connection.getresponse() as response:
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise KazooRefused("the answer is compressed, although we do not accept that")
        body = bytearray()
        # read1, since read(n) is unlimited when a chunk claims a size of -1.
        while part := response.read1(PART_BYTES):
            body += part
            if len(body) > ANSWER_BYTES:
                raise KazooRefused(f"the answer has more than {ANSWER_BYTES:,} bytes")
        if response.length:
            raise http.client.IncompleteRead(bytes(body), response.length)
        return Answer(response.status, response.headers, bytes(body))
