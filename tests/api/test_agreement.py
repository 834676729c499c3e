"""List, count, CSV, devices/status and the view agree at every moment, while registrations come and go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import psycopg
import pytest
from flask.testing import FlaskClient

from tests.fixtures.answers import Answers, Shown
from tests.fixtures.churn import Churn, StartChurn, State, Writer
from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding
from tests.fixtures.worker import StartJobs
from tests.stand.process import wait_until

WRITERS = 3
# Together more than a list reads with one statement.
SIZE = 500
ROUNDS = 8
# Bindings that nobody refreshes: the first expires at once, each of the others some seconds later.
MORTALS = 40
SECONDS_BETWEEN_DEATHS = 3


@dataclass(frozen=True)
class Account(Answers):
    """An account whose registrations come and go.

    Attributes:
        churn: who sees to that.
        deaths: by Call-ID, when bindings expire that nobody refreshes.
    """

    churn: Churn
    deaths: dict[str, int]

    def mortals(self, at: float) -> set[str]:
        """Call-IDs of those that had not expired then."""
        return {call_id for call_id, expires in self.deaths.items() if expires > at}


@pytest.fixture
def account(
    http: FlaskClient,
    directory: Directory,
    database: psycopg.Connection,
    add_binding: AddBinding,
    start_jobs: StartJobs,
    start_churn: StartChurn,
) -> Iterator[Account]:
    """Writers as many SIP workers would be, the sync worker beside them, and time."""
    churn = start_churn("child", writers=WRITERS, size=SIZE, beside=start_jobs().enrich)
    deaths = {f"mortal/{number}": int(time.time()) + number * SECONDS_BETWEEN_DEATHS for number in range(MORTALS)}
    for number, (call_id, expires) in enumerate(deaths.items()):
        add_binding(f"mortal-{number}", "child.test", callid=call_id, expires=expires)
    yield Account(http, directory.tokens["child"], "child", database, churn, deaths)
    churn.stop()


def _is_a_moment(account: Account, read: Callable[[], Shown]) -> bool:
    """Whether what is shown was all there is at one moment between the question and the answer, for each writer."""
    before = time.time()
    shown = read()
    mortals = {call_id for call_id in shown if call_id in account.deaths}
    immortals = {
        writer.name: {each: stamp for each, stamp in shown.items() if each.startswith(f"{writer.name}-")}
        for writer in account.churn.writers
    }
    assert len(mortals) + sum(map(len, immortals.values())) == len(shown)
    first_death = min((account.deaths[call_id] for call_id in mortals), default=0)
    return (
        account.mortals(time.time()) <= mortals <= account.mortals(before)
        and mortals == account.mortals(first_death - 1)
        and all(writer.was_ever(immortals[writer.name].__eq__) for writer in account.churn.writers)
    )


def _has_devices(devices: set[str], state: State) -> bool:
    return {call_id.split("/")[0] for call_id in state} == devices


def test_whatever_is_read_is_one_moment(account: Account) -> None:
    """Each row of a list, of CSV and of the view was there together with all others, and none else was; never half a
    transaction, never an older state after a newer one. As many as there always are is what the count says, and each
    device that is registered is in devices/status once."""
    always = WRITERS * SIZE
    for _ in range(ROUNDS):
        for read in (account.listed, account.exported, account.viewed):
            assert _is_a_moment(account, read)
        before = time.time()
        count = account.count()
        assert len(account.mortals(time.time())) <= count - always <= len(account.mortals(before))
        devices = account.registered_devices()
        assert len(set(devices)) == len(devices) == always
        for writer in account.churn.writers:
            own = {device for device in devices if device.startswith(f"{writer.name}-")}
            assert writer.was_ever(partial(_has_devices, own))
    assert all(writer.generation > ROUNDS for writer in account.churn.writers)


def _has_gone_on(writer: Writer, generation: int) -> bool:
    return writer.generation > generation


def test_at_rest_all_five_say_the_same(account: Account) -> None:
    """Stopped at any point, list, CSV and view show the same rows, the count is their number, and devices/status has
    their devices; and they are those that the writers left, less those that have expired."""

    def agree() -> bool:
        mortals = account.mortals(time.time())
        shown, exported, viewed = account.listed(), account.exported(), account.viewed()
        count, devices = account.count(), account.registered_devices()
        if account.mortals(time.time()) != mortals:
            return False  # one has expired between two answers
        left = {call_id: stamp for writer in account.churn.writers for call_id, stamp in writer.now().items()}
        assert shown == exported == viewed == {**left, **dict.fromkeys(mortals, "TestPhone/1.0")}
        assert count == len(shown)
        assert devices == sorted(call_id.split("/")[0] for call_id in left)
        return True

    for _ in range(ROUNDS):
        with account.churn.pause():
            wait_until(agree, 60, "five answers while nothing expires")
        for writer in account.churn.writers:
            wait_until(partial(_has_gone_on, writer, writer.generation), 30, "the writers to go on")
