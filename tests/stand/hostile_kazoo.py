"""A broken imitation of Kazoo for the importer. It can send any bytes, also answers that Kazoo never gives.

By default it has one account with one user and one device.
"""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

API_KEY = "5eb1a3f0" * 8
TOKEN = "c0ffee11" * 4
Said = Iterable[bytes]


class HostileKazoo:
    """The state of the server. A test may change the answers while it runs.

    Attributes:
        answers: whole answers as bytes, headers included, by path below /v2/. A function gets the request target with
            its query and returns the answer.
        asked: the targets of all requests.
        heard: all bytes that clients sent.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Said | Callable[[str], Said]] = {
            "api_auth": said(auth_token=TOKEN, data={"account_id": "root"}),
            "accounts/root": said(data={"id": "root", "name": "Root", "realm": "root.test"}),
            "accounts/root/descendants": said(data=[]),
            "accounts/root/users": said(data=[{"id": "anna", "username": "anna"}]),
            "accounts/root/devices": said(data=[{"id": "d1"}]),
            "accounts/root/devices/d1": said(data={"id": "d1", "sip": {"username": "u1", "password": "secret"}}),
        }
        self.asked: list[str] = []
        self.heard = b""
        self.url = ""
        self.ending = threading.Event()

    def add_account(self, account_id: str, *, tree: list[Any], **document: Any) -> dict[str, Any]:
        """Add an account without users and devices; return its entry for the list of descendants."""
        path = f"accounts/{account_id}"
        self.answers[path] = said(data={"id": account_id, "name": account_id, **document})
        self.answers[f"{path}/users"] = self.answers[f"{path}/devices"] = said(data=[])
        return {"id": account_id, "tree": tree}

    def answer(self, target: str) -> Said:
        self.asked.append(target)
        path = target.partition("?")[0].removeprefix("/v2/")
        found = self.answers.get(path, said(HTTPStatus.NOT_FOUND, data={}))
        return found(target) if callable(found) else found


def said(status: int = HTTPStatus.OK, *, headers: Iterable[str] = (), **envelope: Any) -> Said:
    """Return an answer in JSON."""
    return raw(json.dumps(envelope).encode(), status, headers=headers)


def raw(body: bytes, status: int = HTTPStatus.OK, *, headers: Iterable[str] = ()) -> Said:
    """Return an answer with this body."""
    lines = [f"HTTP/1.1 {int(status)} Said", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return ["\r\n".join(lines).encode(), body]


@contextmanager
def hostile_kazoo(*, certificate: Path | None = None) -> Iterator[HostileKazoo]:
    """Run the server on a free port of 127.0.0.1, with TLS if a file with certificate and key is given."""
    kazoo = HostileKazoo()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                head = b"".join(iter(self.rfile.readline, b"\r\n"))
                length = next(
                    (line for line in head.splitlines() if line.lower().startswith(b"content-length:")), b":0"
                )
                kazoo.heard += head + self.rfile.read(int(length.partition(b":")[2]))
                for part in kazoo.answer(head.split()[1].decode()):
                    if kazoo.ending.is_set():
                        return
                    self.wfile.write(part)
            except OSError:  # the client closed the connection
                return

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Ignore a client that does not trust the certificate."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        kazoo.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield kazoo
        finally:
            kazoo.ending.set()
            server.shutdown()
            thread.join()
