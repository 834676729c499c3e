"""The comparison itself, on made-up runs."""

from __future__ import annotations

import pytest

from tests.adoption import comparison
from tests.adoption.comparison import judge
from tests.adoption.features import COMBINATIONS, FEATURES, Combination
from tests.adoption.ledger import Ledger, Names
from tests.adoption.phones import KINDS
from tests.adoption.wanted import Wanted

PLAIN = Combination(("plain",), 1)


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list with one entry, for db_mode 1."""
    entry = Wanted("phone/refreshes/answer", "why", "200 OK", "400 .*", where=lambda each: each.db_mode == 1)
    monkeypatch.setattr(comparison, "WANTED", (entry,))


@pytest.mark.usefixtures("wanted")
def test_a_wanted_difference_holds_and_any_other_does_not() -> None:
    stock = {"phone/refreshes/answer": "200 OK", "phone/is called/heard": "[phone] heard it"}
    ours = {**stock, "phone/refreshes/answer": "400 Bad Request"}
    assert judge(PLAIN, stock, ours).holds
    assert not judge(Combination(("plain",), 2), stock, ours).holds
    assert not judge(PLAIN, stock, {**ours, "phone/refreshes/answer": "500 Server Error"}).holds
    (found,) = judge(PLAIN, stock, {**ours, "phone/is called/heard": "nobody heard it"}).differences
    assert str(found) == "phone/is called/heard\n    stock:   [phone] heard it\n    adopted: nobody heard it"


@pytest.mark.usefixtures("wanted")
def test_a_listed_difference_that_does_not_show_is_missing() -> None:
    result = judge(PLAIN, {"phone/refreshes/answer": "200 OK"}, {"phone/refreshes/answer": "200 OK"})
    assert not result.holds
    assert "listed as wanted, but does not differ: phone/refreshes/answer (why)" in str(result)


@pytest.mark.usefixtures("wanted")
def test_what_only_one_run_has_differs() -> None:
    answer = {"phone/refreshes/answer": "200 OK"}, {"phone/refreshes/answer": "400 No"}
    result = judge(PLAIN, answer[0], {**answer[1], "log/usrloc: failed": "logged"})
    assert [str(each) for each in result.differences] == ["log/usrloc: failed\n    stock:   -\n    adopted: logged"]


def test_of_rows_only_what_differs_is_told() -> None:
    stock = "username='a' | path=None\nusername='b' | path=None"
    result = judge(Combination(("none",), 9), {"rows of a/x": stock}, {"rows of a/x": stock.replace("None", "'p'", 1)})
    assert "rows of a/x\n    stock:   path=None\n    adopted: path='p'" in str(result)


def test_ports_and_bytes_have_names() -> None:
    ledger = Ledger(Names())
    first, second = (ledger.names.port("phone") for _ in range(2))
    ledger.write("seen", f"127.0.0.1:{first}, 127.0.0.1:{second}, 5060, caf\udce9")
    assert ledger.lines == {"seen": r"127.0.0.1:[phone], 127.0.0.1:[phone 2], 5060, caf\udce9"}


def test_every_phone_and_every_feature_has_a_name_of_its_own() -> None:
    assert len({each.name for each in KINDS}) == len(KINDS)
    assert len({each.name for each in FEATURES}) == len(FEATURES)
    assert len({str(each) for each in COMBINATIONS}) == len(COMBINATIONS)
