"""Counts calls to Kamailio for Prometheus. The API and the worker each count their own."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from kamailio.rpc import Observation

CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class CallMetrics:
    """Counters of calls, by node. Safe to share between threads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        named: dict[str, Any] = {"namespace": "kamailio_registrations", "registry": registry}
        labels = ["server_id", "method"]
        self._calls = Histogram(
            "rpc_duration_seconds", "Calls to Kamailio, answered or not.", labels, buckets=CALL_SECONDS, **named
        )
        text = "Calls that Kamailio refused or did not answer."
        self._errors = Counter("rpc_errors", text, [*labels, "cause"], **named)

    def count(self, server_id: int, seen: Observation) -> None:
        """Count one call; an observer for `kamailio.nodes.Nodes`."""
        self._calls.labels(server_id, seen.method).observe(seen.seconds)
        if seen.failure is not None:
            self._errors.labels(server_id, seen.method, seen.failure).inc()
