"""Reads from Kazoo's Crossbar: logs in, keeps a steady rate, follows pages, retries, and keeps limits."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from time import monotonic
from urllib.parse import quote, urlencode, urlsplit

from sql.directory.problems import shown
from sync.kazoo.errors import KazooMissing, KazooRefused, KazooUnreachable
from sync.kazoo.http import Answer, KazooHttp
from sync.kazoo.settings import KazooSettings
from sync.kazoo.shapes import Document, Unfit, as_list, as_object, identifier, parsed, text

ATTEMPTS = 8
LONGEST_PAUSE_SECONDS = 300
PAGE_SIZE = 100
TRANSIENT = {429, 500, 502, 503, 504}
BYTES_A_ROW = 4096
TOKEN = re.compile(r"[!-~]{1,8192}")


class _Transient(Exception):
    """No answer, or one for which a retry may help; `pause` is the seconds that Kazoo asks to wait before it."""

    def __init__(self, fault: str, pause: float = 0.0) -> None:
        super().__init__(fault)
        self.pause = pause


class KazooClient:
    """A client with one API key, for one import. Not to be shared between threads."""

    def __init__(self, url: str, settings: KazooSettings, *, wait: Callable[[float], object]) -> None:
        """Sends no request yet.

        Args:
            url: of Crossbar, with or without ``/v2``.
            settings: the key, the rate and the limits.
            wait: called with the seconds to wait; may raise to end the import.

        Raises:
            KazooRefused: no key is set; or the URL has a user or a password, which other users of this machine could
                read; or it is http: to another machine.
        """
        self._url = url.rstrip("/").removesuffix("/v2") + "/v2"
        self._timeout = settings.kazoo_timeout
        self._http = KazooHttp(self._url, plain_http=settings.kazoo_plain_http, seconds=self._timeout, wait=wait)
        self._key = settings.api_key()
        self._interval = 1 / settings.kazoo_rate
        self._duration = settings.kazoo_max_duration
        self._most_rows = settings.kazoo_max_rows
        self._wait = wait
        self._token: str | None = None
        self._account_id = ""
        self._next = 0.0
        self._ends = monotonic() + self._duration
        self._rows = self._bytes = 0
        self.requests = 0

    def log_in(self) -> str:
        """Get a token; returns the ID of the account that the key belongs to.

        Raises:
            KazooRefused: Kazoo does not know the key, or the key belongs to another account than at the first login.
            KazooUnreachable: Kazoo does not answer.
        """
        body = json.dumps({"data": {"api_key": self._key}}).encode()
        envelope = self._ask("PUT", "api_auth", body=body)
        with refused_at("api_auth"):
            token, data = envelope.get("auth_token"), as_object(envelope["data"], "data")
            if not isinstance(token, str) or not TOKEN.fullmatch(token):
                raise Unfit("auth_token is not a token")
            self._token = token
            account_id = self._identifier(data.get("account_id"), "account_id")
            if self._account_id not in {"", account_id}:
                raise Unfit("account_id differs from the first login's")
        self._account_id = account_id
        return account_id

    def get(self, path: str) -> Document:
        """The document at a path that ends in its ID.

        Raises:
            KazooMissing: the document no longer exists.
            KazooRefused: Kazoo refuses it or sends something else, or the import has reached one of its limits.
            KazooUnreachable: Kazoo does not answer, or its answers make no sense.
        """
        envelope = self._ask("GET", path)
        with refused_at(path):
            document = as_object(envelope["data"], "data")
            if document.get("id") != path.rpartition("/")[2]:
                raise Unfit("id is not the one that was asked for")
        return document

    def pages(self, path: str, **parameters: str) -> Iterator[Document]:
        """The summaries of a list, from all its pages, each with a valid ID; raises as :meth:`get`."""
        query = {"paginate": "true", "page_size": str(PAGE_SIZE), **parameters}
        seen: set[int] = set()  # hashes, since there may be many long keys
        while True:
            envelope = self._ask("GET", path, query)
            with refused_at(path):
                summaries = as_list(envelope["data"], "data")
                for summary in summaries:
                    self._identifier(as_object(summary, "an entry of data").get("id"), "id of an entry of data")
                key = text(envelope, "next_start_key")
            self._rows += max(1, len(summaries))  # count an empty page too, or a list of them would never end
            yield from summaries
            if not key:
                return
            if hash(key) in seen:
                raise KazooRefused(f"{path}: the pages do not end: a next_start_key comes a second time")
            seen.add(hash(key))
            query["start_key"] = key

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def is_secret(self, value: str) -> bool:
        """Whether a text contains the API key or the token. Such a text goes into no message, file or table."""
        return any(secret in value for secret in (self._key, self._token) if secret)

    def _ask(self, method: str, path: str, query: Mapping[str, str] | None = None, *, body: bytes = b"") -> Document:
        target = f"/{quote(path)}" + (f"?{urlencode(query)}" if query else "")
        where, pause, fault = f"{method} {self._url}/{path}", 0.0, ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._wait(pause)
            if method == "GET" and self._token is None:  # it has expired
                self.log_in()
            try:
                self._keep_limits()
                self._keep_rate()
                return self._envelope(self._answer(method, target, body))
            except _Transient as error:
                fault, pause = str(error), max(error.pause, 0.5 * 2**attempt)
            except Unfit as error:  # a truncated answer, or a proxy's error page
                fault, pause = str(error), 0.5 * 2**attempt
            except KazooRefused as error:
                raise type(error)(f"{where}: {error}") from error
        raise KazooUnreachable(f"{where}: {fault}, {ATTEMPTS} times")

    def _answer(self, method: str, target: str, body: bytes) -> Answer:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._token:
            headers["X-Auth-Token"] = self._token
        try:
            return self._http.ask(method, target, headers=headers, body=body or None)
        except TimeoutError as error:
            fault = f"no complete answer within {self._timeout:g} seconds, REGISTRATIONS_KAZOO_TIMEOUT"
            raise _Transient(fault) from error
        except (OSError, HTTPException) as error:
            raise _Transient(type(error).__name__) from error

    def _envelope(self, answer: Answer) -> Document:
        self._bytes += len(answer.body)
        if 200 <= answer.status < 300:
            envelope = parsed(answer.body)
            if "data" not in envelope:
                raise Unfit("the answer has no data")
            return envelope
        if 300 <= answer.status < 400:
            place = self._place(answer.headers.get("Location", ""))
            raise KazooRefused(f"Kazoo redirects to {place}; redirects are not followed, since the key would go there")
        if answer.status == 404:
            raise KazooMissing("not found")
        if answer.status == 401 and self._token:
            self._token = None
        elif answer.status not in TRANSIENT:
            raise KazooRefused(f"Kazoo answers {answer.status}")
        raise _Transient(f"HTTP status {answer.status}", _asked_pause(answer.headers.get("Retry-After", "")))

    def _place(self, location: str) -> str:
        try:
            parts = urlsplit(location)
        except ValueError:
            return "nowhere"
        place = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
        return "an address that contains the key" if self.is_secret(place) else shown(place)

    def _identifier(self, value: object, what: str) -> str:
        found = identifier(value, what)
        if self.is_secret(found):
            raise Unfit(f"{what} contains our key or token")
        return found

    def _keep_limits(self) -> None:
        if self._rows > self._most_rows:
            raise KazooRefused(f"Kazoo lists more than {self._most_rows:,}, REGISTRATIONS_KAZOO_MAX_ROWS")
        if self._bytes > self._most_rows * BYTES_A_ROW:
            raise KazooRefused(f"Kazoo sends more than {BYTES_A_ROW:,} bytes for each of REGISTRATIONS_KAZOO_MAX_ROWS")
        if monotonic() > self._ends:
            raise KazooRefused(f"not done within {self._duration:g} seconds, REGISTRATIONS_KAZOO_MAX_DURATION")

    def _keep_rate(self) -> None:
        self._wait(max(0.0, self._next - monotonic()))
        self._next = monotonic() + self._interval
        self.requests += 1


@contextmanager
def refused_at(path: str) -> Iterator[None]:
    """Add the path of the document to a complaint about its content."""
    try:
        yield
    except Unfit as error:
        raise KazooRefused(f"{path}: {error}") from error


def _asked_pause(value: str) -> float:
    """Seconds that Retry-After asks for, if it is a number (RFC 9110, 10.2.3)."""
    return min(int(value), LONGEST_PAUSE_SECONDS) if re.fullmatch("[0-9]{1,9}", value) else 0.0
