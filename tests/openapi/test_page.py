"""The served document, and the page that shows it, in a real browser. The page loads nothing from other hosts."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urljoin

import pytest
from flask.testing import FlaskClient

from api.document import read_document
from tests.fixtures.server import HOST, StartServer
from tests.openapi.test_document import VERBS

PATH = "/v2/openapi.json"
PAGE = "/v2/docs/"
BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")


def test_everybody_may_read_the_document(http: FlaskClient) -> None:
    """It needs no token, has no envelope, and equals the file. The file's internal names are left out."""
    response = http.get(PATH)
    assert response.headers["Content-Type"] == "application/json"
    assert response.get_json() == read_document()
    assert "x-shared" not in response.text


def test_the_document_is_asked_for_again_only_when_it_has_changed(http: FlaskClient) -> None:
    """The reply has an entity tag, and shared caches may store it."""
    first = http.get(PATH)
    assert first.headers["Cache-Control"] == "public, no-cache"
    again = http.get(PATH, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_the_page_may_load_nothing_from_elsewhere(http: FlaskClient) -> None:
    """The browser enforces it: no directive of the policy names another host or allows inline scripts."""
    for path in (PAGE, f"{PAGE}show.js", f"{PAGE}swagger-ui-bundle.js"):
        with http.get(path) as response:
            policy = dict(each.split(" ", 1) for each in response.headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["connect-src"] == "'self'"
        assert set(" ".join(policy.values()).split()) <= {"'none'", "'self'", "'unsafe-inline'", "data:"}


def test_the_page_is_found_with_and_without_a_slash(http: FlaskClient) -> None:
    """This holds for every Accept of a browser. A file that the page does not have is a 404, as elsewhere."""
    without = http.get("/v2/docs", headers={"Accept": "text/html"})
    assert (without.status_code, urljoin("/v2/docs", without.headers["Location"])) == (308, PAGE)
    with http.get(PAGE, headers={"Accept": "text/html"}) as page:
        assert (page.status_code, page.mimetype) == (200, "text/html")
    for name in ("nothing.js", "..%2Fdocument.py", ".."):
        assert http.get(f"{PAGE}{name}").get_json()["message"] == "faulty_request"


@pytest.fixture
def browser() -> str:
    """A headless browser."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert found, "no browser found; `make test-packages` installs one"
    return found


def test_a_browser_shows_every_operation_and_asks_no_other_site(
    browser: str, start_server: StartServer, tmp_path: Path
) -> None:
    """The browser's network log shows it. The page reports no error and resolves every reference."""
    site = f"http://{HOST}:{start_server().port}"
    log = tmp_path / "net.json"
    shown = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
            f"--log-net-log={log}", "--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom",
            f"{site}/v2/docs#/registrations/listRegistrations",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )  # fmt: skip
    document = read_document()
    # The operation in the URL is open, with a field for each parameter.
    for parameter in document["paths"]["/v2/accounts/{account_id}/registrations"]["get"]["parameters"]:
        name = document["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]["name"]
        assert f'data-param-name="{name}"' in shown.stdout
    for item in document["paths"].values():
        for verb in item.keys() & VERBS:
            operation = item[verb]
            assert f'id="operations-{operation["tags"][0]}-{operation["operationId"]}"' in shown.stdout
    assert document["info"]["title"] in shown.stdout
    assert "CONSOLE" not in shown.stderr
    asked = _asked_by(site, log)
    assert f"{site}{PATH}" in asked
    assert [url for url in asked if not url.startswith((f"{site}/", "data:"))] == []


def _asked_by(site: str, log: Path) -> set[str]:
    """Return all URLs that the page requested. The browser itself also contacts its maker's servers."""
    parameters = [event.get("params", {}) for event in json.loads(log.read_text(encoding="utf-8"))["events"]]
    key = f"http://{HOST} "  # the page's part of the cache, which frames of other sites share
    return {
        each["url"]
        for each in parameters
        if "url" in each and (each.get("initiator") == site or each.get("network_isolation_key", "").startswith(key))
    }
