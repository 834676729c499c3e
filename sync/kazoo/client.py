"""Reading from Kazoo's Crossbar: one token, a steady pace, pages, patience with what passes, limits."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from time import monotonic, time
from urllib.parse import quote, urlencode, urlsplit

from sql.directory.problems import shown
from sql.errors import KazooMissing, KazooRefused, KazooUnreachable
from sync.kazoo.http import Answer, KazooHttp
from sync.kazoo.settings import KazooSettings
from sync.kazoo.shapes import Document, Unfit, as_list, as_object, identifier, parsed, text

ATTEMPTS = 8
LONGEST_PAUSE_SECONDS = 300
PAGE_SIZE = 100
PASSING = {429, 500, 502, 503, 504}
BYTES_A_ROW = 4096
TOKEN = re.compile(r"[!-~]{1,8192}")


class _Passing(Exception):
    """No answer, or one that another attempt may better; with the seconds that Kazoo wants to be left alone."""

    def __init__(self, fault: str, pause: float = 0.0) -> None:
        super().__init__(fault)
        self.pause = pause


class KazooClient:
    """A client of one API key, for one import. Not to be shared between threads."""

    def __init__(self, url: str, settings: KazooSettings, *, wait: Callable[[float], object]) -> None:
        """Ask nothing yet.

        Args:
            url: of Crossbar, with or without ``/v2``.
            settings: the key, the pace and the limits.
            wait: spends so many seconds; raises, should it be time to end.

        Raises:
            KazooRefused: there is no key, or the URL has a user or a password, which everybody here could read, or it
                is http: to another machine.
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
        """Get a token; returns the ID of the account that has the key.

        Raises:
            KazooRefused: Kazoo does not know the key, or it is another account's than before.
            KazooUnreachable: it does not answer.
        """
        body = json.dumps({"data": {"api_key": self._key}}).encode()
        envelope = self._ask("PUT", "api_auth", body=body)
        with refused_at("api_auth"):
            token, data = envelope.get("auth_token"), as_object(envelope["data"], "data")
            if not isinstance(token, str) or not TOKEN.fullmatch(token):
                raise Unfit("auth_token is no token")
            self._token = token
            account_id = self._identifier(data.get("account_id"), "account_id")
            if self._account_id not in {"", account_id}:
                raise Unfit("account_id is another one than at the first login")
        self._account_id = account_id
        return account_id

    def get(self, path: str) -> Document:
        """The document at a path that ends in its ID.

        Raises:
            KazooMissing: it is gone by now.
            KazooRefused: Kazoo does not give it, or gives something else, or a limit of the whole import is reached.
            KazooUnreachable: it does not answer, or only nonsense.
        """
        envelope = self._ask("GET", path)
        with refused_at(path):
            document = as_object(envelope["data"], "data")
            if document.get("id") != path.rpartition("/")[2]:
                raise Unfit("id is another one than was asked for")
        return document

    def pages(self, path: str, **parameters: str) -> Iterator[Document]:
        """The summaries of a list, page by page, each with an ID that can be one; raises as :meth:`get`."""
        query = {"paginate": "true", "page_size": str(PAGE_SIZE), **parameters}
        seen: set[int] = set()  # of each key the hash, for there may be many long ones
        while True:
            envelope = self._ask("GET", path, query)
            with refused_at(path):
                summaries = as_list(envelope["data"], "data")
                for summary in summaries:
                    self._identifier(as_object(summary, "an entry of data").get("id"), "id of an entry of data")
                key = text(envelope, "next_start_key")
            self._rows += max(1, len(summaries))  # a page without entries, too: there may be no end of them
            yield from summaries
            if not key:
                return
            if hash(key) in seen:
                raise KazooRefused(f"{path}: the pages do not end: a next_start_key comes for the second time")
            seen.add(hash(key))
            query["start_key"] = key

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def is_secret(self, value: str) -> bool:
        """Whether the API key or the token is in a text, which then goes into no message, file or table."""
        return any(secret in value for secret in (self._key, self._token) if secret)

    def _ask(self, method: str, path: str, query: Mapping[str, str] | None = None, *, body: bytes = b"") -> Document:
        target = f"/{quote(path)}" + (f"?{urlencode(query)}" if query else "")
        where, pause, fault = f"{method} {self._url}/{path}", 0.0, ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._wait(pause)
            if method == "GET" and self._token is None:  # it has died
                self.log_in()
            try:
                self._keep_limits()
                self._keep_pace()
                return self._envelope(self._answer(method, target, body))
            except _Passing as passing:
                fault, pause = str(passing), max(passing.pause, 0.5 * 2**attempt)
            except Unfit as error:  # an answer that broke off, or a proxy's page
                fault, pause = str(error), 0.5 * 2**attempt
            except KazooMissing as error:
                raise KazooMissing(f"{where}: {error}") from error
            except KazooRefused as error:
                raise KazooRefused(f"{where}: {error}") from error
        raise KazooUnreachable(f"{where}: {fault}, {ATTEMPTS} times")

    def _answer(self, method: str, target: str, body: bytes) -> Answer:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._token:
            headers["X-Auth-Token"] = self._token
        try:
            return self._http.ask(method, target, headers=headers, body=body or None)
        except TimeoutError as error:
            fault = f"no whole answer within {self._timeout:g} seconds, REGISTRATIONS_KAZOO_TIMEOUT"
            raise _Passing(fault) from error
        except (OSError, HTTPException) as error:
            raise _Passing(type(error).__name__) from error

    def _envelope(self, answer: Answer) -> Document:
        self._bytes += len(answer.body)
        if 200 <= answer.status < 300:
            envelope = parsed(answer.body)
            if "data" not in envelope:
                raise Unfit("the answer has no data")
            return envelope
        if 300 <= answer.status < 400:
            place = self._place(answer.headers.get("Location", ""))
            raise KazooRefused(f"Kazoo redirects to {place}, which is not followed: the key would go there")
        if answer.status == 404:
            raise KazooMissing("there is no such thing")
        if answer.status == 401 and self._token:
            self._token = None
        elif answer.status not in PASSING:
            raise KazooRefused(f"Kazoo answers {answer.status}")
        raise _Passing(f"HTTP status {answer.status}", _asked_pause(answer.headers.get("Retry-After", "")))

    def _place(self, location: str) -> str:
        try:
            parts = urlsplit(location)
        except ValueError:
            return "nowhere"
        place = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
        return "a place with the key in its name" if self.is_secret(place) else shown(place)

    def _identifier(self, value: object, what: str) -> str:
        found = identifier(value, what)
        if self.is_secret(found):
            raise Unfit(f"{what} is our key or token")
        return found

    def _keep_limits(self) -> None:
        if self._rows > self._most_rows:
            raise KazooRefused(f"Kazoo lists more than {self._most_rows:,}, REGISTRATIONS_KAZOO_MAX_ROWS")
        if self._bytes > self._most_rows * BYTES_A_ROW:
            raise KazooRefused(f"Kazoo sends more than {BYTES_A_ROW:,} bytes for each of REGISTRATIONS_KAZOO_MAX_ROWS")
        if monotonic() > self._ends:
            raise KazooRefused(f"not done within {self._duration:g} seconds, REGISTRATIONS_KAZOO_MAX_DURATION")

    def _keep_pace(self) -> None:
        self._wait(max(0.0, self._next - monotonic()))
        self._next = monotonic() + self._interval
        self.requests += 1


@contextmanager
def refused_at(path: str) -> Iterator[None]:
    """Say where in Kazoo it was that something is unfit."""
    try:
        yield
    except Unfit as error:
        raise KazooRefused(f"{path}: {error}") from error


def _asked_pause(value: str) -> float:
    """Seconds that Retry-After wants (RFC 9110, 10.2.3): a number of them, or a date."""
    try:
        asked = float(value) if re.fullmatch("[0-9]+", value) else parsedate_to_datetime(value).timestamp() - time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(asked, 0.0), LONGEST_PAUSE_SECONDS)
