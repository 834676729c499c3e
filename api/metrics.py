"""Metrics of the API for Prometheus: requests, calls to Kamailio, connections. They have an address of their own.

The server's processes share them in files (prometheus_client's multiprocess mode). The variable
PROMETHEUS_MULTIPROC_DIR must name the directory before this module is imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from http import HTTPMethod
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from flask import Response, g, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from api.extensions import database
from api.paths import template
from kamailio.call_metrics import CallMetrics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# A count takes some milliseconds, a flush up to its budget.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
UNREAD = "unread"


class Metrics:
    """What one process counts. Safe to share between threads."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        named: dict[str, Any] = {"namespace": "kamailio_registrations", "registry": registry}
        self._requests = Counter("http_requests", "Answered requests.", ["endpoint", "method", "status"], **named)
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "From the request to the last byte of the response.",
            ["endpoint", "method"],
            buckets=SECONDS,
            **named,
        )
        self.call = CallMetrics(registry).count
        self._connections = Gauge(
            "database_connections",
            "Connections to PostgreSQL in use and idle, and requests that wait for one.",
            ["state"],
            multiprocess_mode="livesum",
            **named,
        )

    def unread(self, status: int) -> None:
        """Count a request that never reached the application."""
        self._requests.labels(UNREAD, UNREAD, status).inc()

    def begin(self) -> None:
        """Note when the request began."""
        g.began = monotonic()

    def end(self, response: Response) -> Response:
        """Count the request once its response is sent, which takes a while for a long list."""
        endpoint = template(request.url_rule) if request.url_rule is not None else "none"
        # A client may make up methods: these share one label.
        method = request.method if request.method in HTTPMethod.__members__ else "other"
        response.call_on_close(partial(self._sent, endpoint, method, response.status_code, g.began, database()))
        return response

    def _sent(self, endpoint: str, method: str, status: int, began: float, pool: Any) -> None:
        self._requests.labels(endpoint, method, status).inc()
        self._seconds.labels(endpoint, method).observe(monotonic() - began)
        for state, count in pool.occupancy().items():
            self._connections.labels(state).set(count)


class _AllProcesses(Collector):
    """What all processes counted. The library fails on a file that a process is creating, which has no content yet."""

    def collect(self) -> Iterable[Metric]:
        files = [str(path) for path in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("*.db") if _has_content(path)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged


def _has_content(path: Path) -> bool:
    with suppress(FileNotFoundError):  # of a process that has just ended
        return path.stat().st_size > 0
    return False


def _scrape(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    registry = CollectorRegistry()
    registry.register(_AllProcesses())
    answer: Iterable[bytes] = make_wsgi_app(registry)(environ, start_response)
    return answer


def by_address(api: Callable[..., Iterable[bytes]], *, listen: str) -> Callable[..., Iterable[bytes]]:
    """WSGI middleware that answers what comes in at ``listen`` with the metrics, and passes on everything else."""
    port = listen.rpartition(":")[2]

    def choose(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name = environ["gunicorn.socket"].getsockname() if "gunicorn.socket" in environ else None
        came_in_at = str(name[1]) if isinstance(name, tuple) else name
        return (_scrape if came_in_at == port else api)(environ, start_response)

    return choose
