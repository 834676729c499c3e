"""Reading from Kazoo's Crossbar: one token, a steady pace, pages, and patience with what passes."""

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from sql.errors import KazooMissing, KazooRefused, KazooUnreachable
from sql.kazoo_settings import KazooSettings

ATTEMPTS = 8
LONGEST_PAUSE_SECONDS = 300
PAGE_SIZE = 100
PASSING = {429, 500, 502, 503, 504}

Document = dict[str, Any]


class KazooClient:
    """A client of one API key. Not to be shared between threads."""

    def __init__(self, url: str, settings: KazooSettings, *, wait: Callable[[float], object]) -> None:
        """Ask nothing yet.

        Args:
            url: of Crossbar, with or without ``/v2``.
            settings: the key and the pace.
            wait: spends so many seconds; raises, should it be time to end.

        Raises:
            KazooRefused: there is no key, or the URL has a user or a password, which everybody here could read.
        """
        if "@" in urlsplit(url).netloc:
            raise KazooRefused("Kazoo's URL has a user or a password; the key is all that is needed")
        self._url = url.rstrip("/").removesuffix("/v2") + "/v2"
        self._key = settings.api_key()
        self._interval = 1 / settings.kazoo_rate
        self._timeout = settings.kazoo_timeout
        self._wait = wait
        self._session = requests.Session()
        self._token: str | None = None
        self._next = 0.0
        self.account_id = ""
        self.requests = 0

    def log_in(self) -> str:
        """Get a token; returns the ID of the account that has the key.

        Raises:
            KazooRefused: Kazoo does not know the key.
            KazooUnreachable: it does not answer.
        """
        self._token = None
        envelope = self._ask("PUT", "api_auth", json={"data": {"api_key": self._key}})
        self._token, self.account_id = envelope["auth_token"], envelope["data"]["account_id"]
        return self.account_id

    def get(self, path: str) -> Document:
        """One document.

        Raises:
            KazooMissing: it is gone by now.
            KazooRefused: Kazoo does not give it.
            KazooUnreachable: it does not answer, or only nonsense.
        """
        document: Document = self._ask("GET", path)["data"]
        return document

    def pages(self, path: str, **parameters: str) -> Iterator[Document]:
        """The summaries of a list, page by page (``start_key``, ``next_start_key``); raises as :meth:`get`."""
        query = {"paginate": "true", "page_size": str(PAGE_SIZE), **parameters}
        while True:
            envelope = self._ask("GET", path, params=query)
            yield from envelope["data"]
            key = envelope.get("next_start_key")
            if not key:
                return
            if key == query.get("start_key"):
                raise KazooRefused(f"{path}: the page that begins at {key!r} is followed by itself")
            query["start_key"] = key

    def _ask(self, method: str, path: str, **options: Any) -> Document:
        renewed, pause, fault = False, 0.0, ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._wait(pause)
            self._keep_pace()
            headers = {"X-Auth-Token": self._token} if self._token else {}
            pause = min(0.5 * 2**attempt, LONGEST_PAUSE_SECONDS)
            try:
                response = self._session.request(
                    method, f"{self._url}/{path}", headers=headers, timeout=self._timeout, **options
                )
                envelope = response.json() if response.ok else {}
            except requests.RequestException as error:  # a body that broke off or is not JSON, too
                fault = type(error).__name__
                continue
            if response.status_code == 401 and self._token and not renewed:  # the token has died meanwhile
                self.log_in()
                renewed, pause = True, 0.0
                continue
            if response.status_code in PASSING:
                fault = f"HTTP status {response.status_code}"
                pause = max(pause, _asked_pause(response))
                continue
            if response.status_code == 404:
                raise KazooMissing(f"{method} {self._url}/{path}: there is no such thing")
            if not response.ok:
                raise KazooRefused(f"{method} {self._url}/{path}: Kazoo answers {response.status_code}")
            if isinstance(envelope, dict) and "data" in envelope:
                return envelope
            fault = "an answer without data"
        raise KazooUnreachable(f"{method} {self._url}/{path}: {fault}, {ATTEMPTS} times")

    def _keep_pace(self) -> None:
        pause = self._next - monotonic()
        self._wait(max(0.0, pause))
        self._next = monotonic() + self._interval
        self.requests += 1


def _asked_pause(response: requests.Response) -> float:
    try:
        asked = Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
    except InvalidHeader:
        return 0.0
    return min(asked, LONGEST_PAUSE_SECONDS)
