"""The Grafana dashboard uses only names and labels that real scrapes of the API and the worker have."""

from __future__ import annotations

import json
import re
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.directory import Directory
from tests.fixtures.http import NOWHERE
from tests.fixtures.location import AddBinding
from tests.fixtures.metrics import Scrape, scrape
from tests.fixtures.server import StartServer
from tests.fixtures.worker import StartWorker
from tests.stand.process import free_port, wait_until

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "sync" / "grafana-dashboard.json"
NAME = re.compile(r"kamailio_registrations_\w+")
# Prometheus adds these.
OF_PROMETHEUS = {"job", "instance"}


def _queries() -> list[str]:
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


@pytest.fixture
def scrapes(
    start_server: StartServer, start_worker: StartWorker, directory: Directory, add_binding: AddBinding
) -> list[Scrape]:
    """Scrapes of an API that has answered requests, and of a worker that has counted registrations."""
    add_binding("bob", "child.test")
    of_api, of_worker = free_port(), free_port()
    api = start_server(api_metrics_listen=f"127.0.0.1:{of_api}")
    connection = HTTPConnection("127.0.0.1", api.port, timeout=10)
    connection.request("GET", "/ready")  # its call to Kamailio fails
    connection.getresponse().read()
    connection.close()
    start_worker(REGISTRATIONS_SYNC_METRICS_LISTEN=f"127.0.0.1:{of_worker}", REGISTRATIONS_KAMAILIO_RPC=NOWHERE)
    needed = {"kamailio_registrations_bindings", "kamailio_registrations_pending_flushes"}
    wait_until(lambda: needed <= scrape(of_worker).names, 20, "the worker to count")
    return [scrape(of_api), scrape(of_worker)]


def test_every_metric_of_the_dashboard_and_of_the_readme_is_there(scrapes: list[Scrape]) -> None:
    """Scrapes, dashboard and documentation have the same metrics."""
    there = set().union(*(found.names for found in scrapes))
    ours = {name for name in there if name.startswith("kamailio_registrations_")}
    asked = {name for query in _queries() for name in NAME.findall(query)}
    assert asked
    assert asked <= ours
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in ours}
    assert families == {re.sub("_(bucket|sum|count)$", "", name) for name in asked}
    readme = (ROOT / "sync" / "README.md").read_text(encoding="utf-8")
    table = readme[readme.index("| of | metric | what |") :].split("\n\n")[0]
    written = set(
        re.findall(r"`([a-z_]+)(?:\{[a-z_,]+\})?`", "".join(line.split("|")[2] for line in table.splitlines()[2:]))
    )
    assert {f"kamailio_registrations_{name}" for name in written} == families


def test_every_label_of_the_dashboard_is_there(scrapes: list[Scrape]) -> None:
    """Otherwise a query that sums by a missing label would show one line without a name."""
    labels: dict[str, set[str]] = {}
    for found in scrapes:
        for name, pairs in found.samples:
            labels.setdefault(name, set()).update(label for label, _ in pairs)
    for query in _queries():
        by = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
        for name in set(NAME.findall(query)) & set(labels):
            assert by - OF_PROMETHEUS <= labels[name], query
