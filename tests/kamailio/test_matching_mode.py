"""In each matching_mode of usrloc a binding that is reported gone is gone, over HTTP and by datagram."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from kamailio import usrloc
from kamailio.bindings import Outcome
from kamailio.errors import ContactNotMatched
from kamailio.removal import remove, remove_unchanged
from tests.fixtures.kamailio import AddDevice, StartKamailio
from tests.kamailio.test_removal import ALICE, Doomed
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone

MODES = (0, 1, 2, 3)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> int:
    """Each of usrloc's matching_modes."""
    return int(request.param)


@pytest.fixture
def registrar(start_kamailio: StartKamailio, add_device: AddDevice, mode: int) -> Proxy:
    """A proxy with that matching_mode."""
    add_device("alice")
    return start_kamailio(environment={"KAMAILIO_MATCHING_MODE": str(mode)})


@pytest.fixture
def phones(registrar: Proxy) -> Iterator[list[Phone]]:
    """Two registered phones of alice."""
    with ExitStack() as stack:
        phones = [stack.enter_context(Phone("alice", "example.com", "secret", proxy=registrar.sip)) for _ in range(2)]
        assert all(phone.register().ok for phone in phones)
        yield phones


def _bindings(registrar: Proxy) -> list[Doomed]:
    with registrar.rpc() as client:
        return [
            Doomed("alice", "example.com", each.ruid, each.last_modified, each.cseq, each.call_id)
            for each in usrloc.lookup(client, ALICE)
        ]


def _left(registrar: Proxy) -> int:
    with registrar.rpc() as client:
        return len(usrloc.lookup(client, ALICE))


def test_by_http_one_of_two_goes(registrar: Proxy, phones: list[Phone]) -> None:
    """Kamailio finds the binding by its ruid."""
    first, _ = _bindings(registrar)
    with registrar.rpc() as client:
        assert remove_unchanged(client, [first], budget=5) == [Outcome.GONE]
    assert _left(registrar) == 1


def test_by_datagram_one_of_two_goes_or_is_told_to_be_there(registrar: Proxy, phones: list[Phone], mode: int) -> None:
    """ul.rm_contact works only in mode 0. In the others the error names the mode, and HTTP as the remedy."""
    first, second = _bindings(registrar)
    with registrar.rpc(socket=True) as client:
        (outcome,) = remove_unchanged(client, [first], budget=5)
        assert _left(registrar) == (1 if mode == 0 else 2)
        if mode == 0:
            assert outcome is Outcome.GONE
            return
        assert isinstance(outcome, ContactNotMatched)
        assert "matching_mode" in str(outcome)
        assert "HTTP" in str(outcome)
        assert phones[0].register().ok  # newer than the row that was read
        assert Outcome.GONE not in remove_unchanged(client, [first, second], budget=5)
        assert _left(registrar) == 2


def test_by_datagram_all_of_an_aor_go(registrar: Proxy, phones: list[Phone]) -> None:
    """In every mode, because the whole AoR can be removed."""
    with registrar.rpc(socket=True) as client:
        assert remove_unchanged(client, _bindings(registrar), budget=5) == [Outcome.GONE] * 2
        assert _left(registrar) == 0
        assert all(phone.register().ok for phone in phones)
        assert remove(client, _bindings(registrar), budget=5) == [Outcome.GONE] * 2
        assert _left(registrar) == 0
