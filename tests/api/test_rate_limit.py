"""The rate limit: by client address and account, and where it does not count."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from limits.storage import MemoryStorage
from pydantic import ValidationError

from api.settings import ApiSettings
from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.stand.process import wait_until

COUNT = "/v2/accounts/{}/registrations/count"
# As good as never: nothing comes back while a test runs.
SLOW = {"api_rate_refill": 0.00001}


class FakeStorageThatIsAway(MemoryStorage):
    """Stands for a server that is down."""

    STORAGE_SCHEME = ["away"]  # noqa: RUF012  # as the library has it

    @property
    def base_exceptions(self) -> type[Exception]:
        return OSError

    def get_sliding_window(self, key: str, expiry: int) -> Any:  # noqa: ARG002
        raise OSError("connection refused")


def _get(http: FlaskClient, directory: Directory, account: str, *, address: str = "192.0.2.1", **headers: str) -> int:
    response = http.get(
        COUNT.format(account),
        headers={"X-Auth-Token": directory.tokens["reseller"], **headers},
        environ_base={"REMOTE_ADDR": address},
    )
    return response.status_code


def test_too_many_requests_are_told_when_to_come_back(start_api: StartApi, directory: Directory) -> None:
    """429 in the envelope, with Retry-After; a wrong token counts as well, and so does none."""
    http = start_api(api_rate_burst=3, **SLOW)
    assert _get(http, directory, "child") == 200
    assert http.get(COUNT.format("child"), environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 401
    assert _get(http, directory, "child", **{"X-Auth-Token": "wrong"}) == 401
    response = http.get(
        COUNT.format("child"),
        headers={"X-Auth-Token": directory.tokens["child"], "X-Request-ID": "req-1"},
        environ_base={"REMOTE_ADDR": "192.0.2.1"},
    )
    envelope = response.get_json()
    assert (response.status_code, envelope["error"], envelope["message"]) == (429, "429", "too_many_requests")
    assert envelope["data"] == {"message": "too many requests"}
    assert (envelope["status"], envelope["request_id"]) == ("error", "req-1")
    assert envelope["auth_token"] == directory.tokens["child"]
    assert int(response.headers["Retry-After"]) > 0


def test_each_address_and_each_account_has_its_own(start_api: StartApi, directory: Directory) -> None:
    """One client that asks too much keeps nobody else out, nor itself out of another account."""
    http = start_api(api_rate_burst=1, **SLOW)
    assert [_get(http, directory, "child") for _ in range(2)] == [200, 429]
    assert _get(http, directory, "sibling") == 200
    assert _get(http, directory, "child", address="192.0.2.2") == 200


def test_what_was_taken_comes_back(start_api: StartApi, directory: Directory) -> None:
    """Who was refused is served again later."""
    http = start_api(api_rate_burst=2, api_rate_refill=2)
    wait_until(lambda: _get(http, directory, "child") == 429, 10, "the end of the tokens")
    wait_until(lambda: _get(http, directory, "child") == 200, 10, "new ones")


def test_an_api_key_cannot_be_guessed_quickly(start_api: StartApi, directory: Directory) -> None:
    """api_auth takes 35 tokens or what is left, as in Kazoo: the third try of a hundred is the last."""
    http = start_api(api_rate_burst=100, **SLOW)
    tries = [http.put("/v2/api_auth", json={"data": {"api_key": "wrong"}}).status_code for _ in range(4)]
    assert tries == [401, 401, 401, 429]


def test_probes_and_preflights_are_not_counted(start_api: StartApi, directory: Directory) -> None:
    """/live, /ready and OPTIONS answer however often they are asked."""
    http = start_api(api_rate_burst=1, **SLOW)
    assert {http.get("/live").status_code for _ in range(5)} == {200}
    assert {http.get("/ready").status_code for _ in range(5)} == {200}
    assert {http.options(COUNT.format("child")).status_code for _ in range(5)} == {200}


def test_the_limit_can_be_switched_off(start_api: StartApi, directory: Directory) -> None:
    """With a burst of 0 nothing is counted."""
    http = start_api(api_rate_burst=0)
    assert {_get(http, directory, "child") for _ in range(150)} == {200}


def test_a_forwarded_address_counts_behind_proxies_only(start_api: StartApi, directory: Directory) -> None:
    """Nobody gets a fresh limit by writing X-Forwarded-For himself; behind one proxy the last address in it counts."""
    http = start_api(api_rate_burst=1, **SLOW)
    assert _get(http, directory, "child", **{"X-Forwarded-For": "198.51.100.1"}) == 200
    assert _get(http, directory, "child", **{"X-Forwarded-For": "198.51.100.2"}) == 429
    behind = start_api(api_rate_burst=1, api_proxies=1, **SLOW)
    assert _get(behind, directory, "child", **{"X-Forwarded-For": "198.51.100.1"}) == 200
    assert _get(behind, directory, "child", **{"X-Forwarded-For": "198.51.100.2"}) == 200
    assert _get(behind, directory, "child", **{"X-Forwarded-For": "203.0.113.9, 198.51.100.1"}) == 429


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.1", "192.0.2.1:5060", True),
        ("192.0.2.1:1", "192.0.2.1:2", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:DB8:0:0:ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "[2001:db8::2]:443", True),
        ("2001:db8::1", "[2001:db8::1]", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("unknown", "_hidden", True),
        ("-", "1.2.3", True),
    ],
)
def test_one_client_has_one_limit_however_its_address_is_written(
    start_api: StartApi, directory: Directory, first: str, second: str, same: bool
) -> None:
    """Ports, notations and the lower half of an IPv6 address, which anybody can choose, get nobody a fresh limit."""
    direct = start_api(api_rate_burst=1, **SLOW)
    assert _get(direct, directory, "child", address=first) == 200
    assert _get(direct, directory, "child", address=second) == (429 if same else 200)
    behind = start_api(api_rate_burst=1, api_proxies=1, **SLOW)
    assert _get(behind, directory, "child", **{"X-Forwarded-For": first}) == 200
    assert _get(behind, directory, "child", **{"X-Forwarded-For": second}) == (429 if same else 200)


def test_invented_accounts_give_no_fresh_limit(start_api: StartApi, directory: Directory) -> None:
    """After too many refusals an address is not looked at, whatever account it names; others are."""
    http = start_api(api_rate_burst=5, **SLOW)
    guesses = [_get(http, directory, f"invented-{number}", **{"X-Auth-Token": "guess"}) for number in range(6)]
    assert guesses == [401] * 5 + [429]
    assert _get(http, directory, "child") == 429
    assert _get(http, directory, "child", address="192.0.2.2") == 200


def test_probing_for_accounts_is_limited(start_api: StartApi, directory: Directory) -> None:
    """A good token that asks for accounts which are none of its own is refused as often, and no more."""
    http = start_api(api_rate_burst=5, **SLOW)
    probes = [_get(http, directory, f"probe-{number}") for number in range(6)]
    assert probes == [403] * 5 + [429]


def test_answers_other_than_refusals_do_not_count_twice(start_api: StartApi, directory: Directory) -> None:
    """A client that asks two accounts within their limits is served to the last request."""
    http = start_api(api_rate_burst=5, **SLOW)
    assert [_get(http, directory, account) for account in ("child", "sibling") for _ in range(5)] == [200] * 10


@pytest.mark.parametrize("uri", ["nowhere://", ""])
def test_a_storage_that_cannot_be_used_is_a_wrong_setting(uri: str) -> None:
    """It is said at the start and not at the first request."""
    with pytest.raises(ValidationError, match="api_rate_storage"):
        ApiSettings(api_rate_storage=uri)


def test_a_storage_that_is_away_closes_nothing(start_api: StartApi, directory: Directory) -> None:
    """The API answers without a limit until it is back."""
    http = start_api(api_rate_burst=1, api_rate_storage="away://", **SLOW)
    assert {_get(http, directory, "child") for _ in range(5)} == {200}
