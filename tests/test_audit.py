"""`make audit` fails on a known vulnerability, but not without a network."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOWHERE = "http://127.0.0.1:1/v1/query"


@contextmanager
def fake_osv(vulnerable: str | None) -> Iterator[str]:
    """Imitate api.osv.dev, with one vulnerability in this package; yield the URL of its API."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
            known = [{"id": "FAKE-2026-1", "modified": "2026-01-01T00:00:00Z", "details": "all of it", "affected": []}]
            body = json.dumps({"vulns": known} if asked == vulnerable else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def _audit(url: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "audit", f"OSV_URL={url}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(("vulnerable", "status"), [("click", 2), (None, 0)], ids=["one", "none"])
def test_a_known_vulnerability_fails_it(vulnerable: str | None, status: int) -> None:
    """The name and the package are printed. Without a vulnerability it passes."""
    with fake_osv(vulnerable) as url:
        result = _audit(url)
    assert result.returncode == status, result.stdout + result.stderr
    assert ("FAKE-2026-1" in result.stdout) == (vulnerable is not None)


def test_without_a_network_it_says_so_and_passes() -> None:
    """Without access to OSV it says that it skipped the audit, and succeeds."""
    result = _audit(NOWHERE)
    assert result.returncode == 0
    assert "audit: skipped" in result.stdout
