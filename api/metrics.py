"""Metrics of the API for Prometheus: requests, calls to Kamailio, connections. Served at an address of their own.

The server's processes share them in files (prometheus_client's multiprocess mode), in the directory that the variable
PROMETHEUS_MULTIPROC_DIR names when this module is imported; so it is imported by whoever has set that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPMethod
from time import monotonic
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.multiprocess import MultiProcessCollector

from api.extensions import database
from api.paths import template
from kamailio.rpc import Observation

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
        self._requests = Counter(
            "http_requests", "Requests that were answered.", ["endpoint", "method", "status"], **named
        )
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "From a request to the last byte of its answer.",
            ["endpoint", "method"],
            buckets=SECONDS,
            **named,
        )
        self._calls = Histogram(
            "rpc_duration_seconds",
            "Calls to Kamailio, answered or not.",
            ["server_id", "method"],
            buckets=SECONDS,
            **named,
        )
        self._call_errors = Counter(
            "rpc_errors", "Calls that Kamailio refused or did not answer.", ["server_id", "method", "cause"], **named
        )
        self._connections = Gauge(
            "database_connections",
            "Connections to PostgreSQL that are lent and idle, and requests that wait for one.",
            ["state"],
            multiprocess_mode="livesum",
            **named,
        )

    def call(self, node: int, seen: Observation) -> None:
        """Count a call to Kamailio."""
        self._calls.labels(node, seen.method).observe(seen.seconds)
        if seen.failure is not None:
            self._call_errors.labels(node, seen.method, seen.failure).inc()

    def unread(self, status: int) -> None:
        """Count a request that never reached the application."""
        self._requests.labels(UNREAD, UNREAD, status).inc()

    def begin(self) -> None:
        """Note when the request came."""
        g.began = monotonic()

    def end(self, response: Response) -> Response:
        """Count the request when its answer is sent, which a long list's is some time later."""
        endpoint = template(request.url_rule) if request.url_rule is not None else "none"
        # Whatever a client may think of as a method is no label of its own.
        method = request.method if request.method in HTTPMethod.__members__ else "other"
        response.call_on_close(partial(self._sent, endpoint, method, response.status_code, g.began, database()))
        return response

    def _sent(self, endpoint: str, method: str, status: int, began: float, pool: Any) -> None:
        self._requests.labels(endpoint, method, status).inc()
        self._seconds.labels(endpoint, method).observe(monotonic() - began)
        for state, count in pool.occupancy().items():
            self._connections.labels(state).set(count)


def _scrape(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    answer: Iterable[bytes] = make_wsgi_app(registry)(environ, start_response)
    return answer


def init_app(app: Flask, metrics: Metrics, *, listen: str) -> None:
    """Count requests, and answer every request that came in at ``listen`` with the metrics and nothing else."""
    app.extensions["metrics"] = metrics
    app.before_request(metrics.begin)
    app.after_request(metrics.end)
    app.wsgi_app = _by_address(app.wsgi_app, listen=listen)  # type: ignore[method-assign]


def _by_address(api: Callable[..., Iterable[bytes]], *, listen: str) -> Callable[..., Iterable[bytes]]:
    port = listen.rpartition(":")[2]

    def choose(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name = environ["gunicorn.socket"].getsockname() if "gunicorn.socket" in environ else None
        came_in_at = str(name[1]) if isinstance(name, tuple) else name
        return (_scrape if came_in_at == port else api)(environ, start_response)

    return choose
