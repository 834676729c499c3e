"""A small imitation of Kazoo's Crossbar for the importer, with faults that a test can switch on.

It follows the documentation of 2600hz/kazoo (applications/crossbar/doc) and its views: envelopes, pages that name the
first key of the next one, lists that show only part of each document, 401 without a valid token, 404.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.serving import make_server

API_KEY = "a" * 64
Document = dict[str, Any]


class StandInKazoo:
    """Accounts with their users and devices, as documents by ID. A test may change them while it runs.

    Attributes:
        faults: answers to the next requests with a token, as HTTP status and headers. `None` breaks the connection
            within the body, and a 401 also ends every token.
        asked: number of requests, by path below /v2/.
        fail_at: every request for this path gets a 503 while it is set.
        page_size: largest page, whatever a client asks for.
    """

    def __init__(self) -> None:
        self.accounts: dict[str, Document] = {}
        self.trees: dict[str, list[str]] = {}
        self.users: dict[str, dict[str, Document]] = {}
        self.devices: dict[str, dict[str, Document]] = {}
        self.faults: list[tuple[int, dict[str, str]] | None] = []
        self.asked: Counter[str] = Counter()
        self.fail_at: str | None = None
        self.page_size = 2
        self.url = ""
        self._tokens: set[str] = set()

    def add_account(self, account_id: str, *, tree: list[str], **document: Any) -> None:
        self.accounts[account_id] = {"id": account_id, **document}
        self.trees[account_id] = tree
        self.users[account_id], self.devices[account_id] = {}, {}

    def add_user(self, account_id: str, user_id: str, **document: Any) -> None:
        self.users[account_id][user_id] = {"id": user_id, **document}

    def add_device(self, account_id: str, device_id: str, **document: Any) -> None:
        self.devices[account_id][device_id] = {"id": device_id, **document}

    def answer(self, path: str) -> Response:
        self.asked[path] += 1
        if path == "api_auth":
            return self._log_in()
        if self.faults:
            fault = self.faults.pop(0)
            if fault is None:
                return Response('{"data": [', headers={"Content-Length": "1000"})
            status, headers = fault
            if status == 401:
                self._tokens.clear()
            return Response("{}", status=status, headers=headers)
        if request.headers.get("X-Auth-Token") not in self._tokens:
            return _error(401, "invalid_credentials")
        if path == self.fail_at:
            return _error(503, "datastore_unreachable")
        found = self._find(path.split("/"))
        return _error(404, "bad_identifier") if found is None else found

    def _log_in(self) -> Response:
        if request.method != "PUT" or request.get_json()["data"].get("api_key") != API_KEY:
            return _error(401, "invalid_credentials")
        token = f"token-{self.asked['api_auth']}"
        self._tokens = {token}
        return jsonify(data={"account_id": "root", "apps": []}, auth_token=token, status="success")

    def _find(self, path: list[str]) -> Response | None:
        match path:
            case ["accounts", account_id] if account_id in self.accounts:
                return jsonify(data=self.accounts[account_id], status="success")
            case ["accounts", account_id, "descendants"] if account_id in self.accounts:
                below = [
                    {key: account.get(key) for key in ("id", "name", "realm")} | {"tree": self.trees[each], "flags": []}
                    for each, account in self.accounts.items()
                    if account_id in self.trees[each]
                ]
                return self._page(below)
            case ["accounts", account_id, "users"] if account_id in self.accounts:
                users = list(self.users[account_id].values())
                if request.args.get("filter_enabled") == "false":
                    users = [user for user in users if user.get("enabled") is False]
                listed = ("id", "username", "first_name", "last_name", "presence_id")
                return self._page([{key: user[key] for key in listed if key in user} for user in users])
            case ["accounts", account_id, "devices"] if account_id in self.accounts:
                listed = ("id", "name", "owner_id", "enabled", "device_type")
                devices = self.devices[account_id].values()
                return self._page([{key: device[key] for key in listed if key in device} for device in devices])
            case ["accounts", account_id, "devices", device_id] if device_id in self.devices.get(account_id, {}):
                return jsonify(data=self.devices[account_id][device_id], status="success")
        return None

    def _page(self, entries: list[Document]) -> Response:
        size = min(self.page_size, int(request.args.get("page_size", 50)))
        start = int(request.args.get("start_key", "key-0").removeprefix("key-"))
        page = entries[start : start + size]
        more = {"next_start_key": f"key-{start + size}"} if start + size < len(entries) else {}
        return jsonify(data=page, page_size=len(page), status="success", **more)


def _error(status: int, message: str) -> Response:
    response = jsonify(data={"message": message}, error=str(status), message=message, status="error")
    response.status_code = status
    return response


@contextmanager
def stand_in_kazoo() -> Iterator[StandInKazoo]:
    """Run the server on a free port of 127.0.0.1."""
    kazoo = StandInKazoo()
    app = Flask("stand_in_kazoo")
    app.add_url_rule("/v2/<path:path>", view_func=kazoo.answer, endpoint="any", methods=["GET", "PUT"])
    server = make_server("127.0.0.1", 0, app)
    kazoo.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield kazoo
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
