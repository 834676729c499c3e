"""Metrics of the API, scraped from a real server with several processes."""

from __future__ import annotations

import re
from http.client import HTTPConnection
from pathlib import Path

import pytest

from api.settings import ApiSettings
from tests.fixtures.directory import Directory
from tests.fixtures.metrics import Scrape, scrape, scrape_when
from tests.fixtures.server import Started, StartServer
from tests.stand.process import free_port, wait_until

REQUESTS = "kamailio_registrations_http_requests_total"
DURATIONS = "kamailio_registrations_http_request_duration_seconds_count"
LIST = "/v2/accounts/{account_id}/registrations"


def _ask(port: int, path: str, token: str = "", method: str = "GET") -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers={"X-Auth-Token": token} if token else {})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


@pytest.fixture
def metrics_port() -> int:
    return free_port()


@pytest.fixture
def served(start_server: StartServer, directory: Directory, metrics_port: int) -> Started:
    """Two processes, whose Kamailio is nowhere."""
    assert directory.tokens
    return start_server(
        api_workers="2", api_metrics_listen=f"127.0.0.1:{metrics_port}", api_rate_burst="0", api_flush_budget="1"
    )


def test_requests_are_counted_by_endpoint_and_status_over_all_processes(
    served: Started, metrics_port: int, directory: Directory
) -> None:
    """Each request once, whichever process had it, and with its time; a path or method of the client's is no label."""
    token = directory.tokens["reseller"]
    wanted = {
        ("/v2/accounts/reseller/registrations", "GET", token): (LIST, "GET", 200),
        ("/v2/accounts/child/registrations", "GET", "wrong"): (LIST, "GET", 401),
        ("/v2/accounts/admin/registrations", "GET", token): (LIST, "GET", 403),
        ("/v2/nowhere/at/all", "GET", token): ("none", "GET", 404),
        ("/v2/accounts/reseller/registrations", "BREW", token): ("none", "other", 405),
    }
    for (path, method, given), (_, _, status) in wanted.items():
        assert [_ask(served.port, path, given, method) for _ in range(20)] == [status] * 20
    timed = {(LIST, "GET"): 60, ("none", "GET"): 20, ("none", "other"): 20}  # a histogram has no status

    def is_complete(found: Scrape) -> bool:
        return all(
            found.value(REQUESTS, endpoint=endpoint, method=method, status=str(status)) >= 20
            for endpoint, method, status in wanted.values()
        ) and all(
            found.value(DURATIONS, endpoint=endpoint, method=method) >= count
            for (endpoint, method), count in timed.items()
        )

    found = scrape_when(metrics_port, is_complete)
    for endpoint, method, status in wanted.values():
        assert found.value(REQUESTS, endpoint=endpoint, method=method, status=str(status)) == 20
    for (endpoint, method), count in timed.items():
        assert found.value(DURATIONS, endpoint=endpoint, method=method) == count
    assert found.labels(REQUESTS, "endpoint") <= {LIST, "none", "/ready"}


def test_what_cannot_be_read_is_counted_too(served: Started, metrics_port: int) -> None:
    """The server answers such a request before the application sees it."""
    assert _ask(served.port, "/v2/" + "x" * 8000) == 414
    found = scrape_when(metrics_port, lambda found: found.value(REQUESTS, endpoint="unread") >= 1)
    assert found.value(REQUESTS, endpoint="unread", status="414") == 1


def test_calls_to_kamailio_are_timed_and_their_failures_counted(served: Started, metrics_port: int) -> None:
    """By node and command; here it is nowhere, which /ready finds out."""
    before = scrape(metrics_port)
    name = "kamailio_registrations_rpc_errors_total"
    labels = {"server_id": "0", "method": "core.uptime", "cause": "KamailioUnreachable"}

    def is_counted() -> bool:  # an answer to /ready serves for a while
        assert _ask(served.port, "/ready") == 200
        return scrape(metrics_port).value(name, **labels) > before.value(name, **labels)

    wait_until(is_counted, 10, "another call")
    after = scrape(metrics_port)
    assert after.value("kamailio_registrations_rpc_duration_seconds_count", server_id="0") > 0


def test_connections_are_shown_by_their_state(served: Started, metrics_port: int, directory: Directory) -> None:
    """Of all processes together."""
    assert _ask(served.port, "/v2/accounts/child/registrations", directory.tokens["child"]) == 200
    name = "kamailio_registrations_database_connections"
    found = scrape_when(metrics_port, lambda found: found.value(name, state="idle") >= 1)
    assert found.labels(name, "state") == {"lent", "idle", "awaited"}


def test_each_address_serves_its_own_and_nothing_else(served: Started, metrics_port: int, directory: Directory) -> None:
    """The API has no metrics, and where the metrics are no token opens anything."""
    assert _ask(served.port, "/metrics", directory.tokens["admin"]) == 404
    connection = HTTPConnection("127.0.0.1", metrics_port, timeout=10)
    connection.request("GET", "/v2/accounts/child/registrations", headers={"X-Auth-Token": directory.tokens["admin"]})
    answer = connection.getresponse().read().decode()
    connection.close()
    assert "envelope" not in answer
    assert '"data"' not in answer


def _shared_directory(served: Started) -> Path:
    processes = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
    open_files = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in processes)
    directory = re.search(r"(/\S*registrations-api-metrics-\w+)/", open_files)
    assert directory is not None
    return Path(directory[1])


def test_no_directory_stays_behind(served: Started, metrics_port: int) -> None:
    """What the processes share is removed when the server ends."""
    directory = _shared_directory(served)
    assert directory.is_dir()
    served.process.stop()
    wait_until(lambda: not directory.exists(), 10, "it to be removed")


def test_a_scrape_does_not_fail_while_a_process_begins_to_count(served: Started, metrics_port: int) -> None:
    """Its file is there and has nothing in it for a moment."""
    (_shared_directory(served) / "counter_1.db").touch()
    assert REQUESTS in scrape(metrics_port).names


def test_the_two_addresses_must_differ() -> None:
    """The port tells a scrape from a request."""
    with pytest.raises(ValueError, match="another port"):
        ApiSettings(api_bind="127.0.0.1:8000", api_metrics_listen="10.0.0.1:8000")
    assert ApiSettings(api_metrics_listen="").api_metrics_listen is None
