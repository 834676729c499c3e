"""Real phones register, un-register, expire and are flushed. Meanwhile all answers agree."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field

import psycopg
import pytest
from flask.testing import FlaskClient

from sync.jobs import Jobs
from tests.fixtures.answers import Answers
from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.kamailio import AddDevice, StartKamailio
from tests.fixtures.worker import StartJobs
from tests.stand.fleet import Fleet
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.process import wait_until
from tests.stand.sip_transport import TransportName

REALM = "example.com"
USERS = 4
STEADY = 3
ROUNDS = 16
DEEDS = 12
# Tolerance: Kamailio counts whole seconds, and its answer takes a moment.
DOUBT_SECONDS = 2.0


@dataclass
class User:
    """A username with two phones. It does one thing after another and knows what must be registered.

    Attributes:
        phones: one by UDP, one by TCP.
        http: a client of the API, for its flushes.
        token: for that client.
        chance: makes the random choices.
        bound: the time when each binding expires, by Call-ID.
    """

    phones: list[Phone]
    http: FlaskClient
    token: str
    chance: random.Random
    bound: dict[str, float] = field(default_factory=dict)

    def work(self) -> None:
        for _ in range(DEEDS):
            self._act()

    def _act(self) -> None:
        phone = self.chance.choice(self.phones)
        deed = self.chance.choice(
            [self._register, self._register, self._register_shortly, self._unregister, self._flush]
        )
        deed(phone)

    def _register(self, phone: Phone, seconds: int = 300) -> None:
        assert phone.register(seconds).status == 200
        self.bound[phone.call_id] = time.time() + phone.granted

    def _register_shortly(self, phone: Phone) -> None:
        self._register(phone, 2)

    def _unregister(self, phone: Phone) -> None:
        assert phone.unregister().status == 200
        self.bound.pop(phone.call_id, None)

    def _flush(self, phone: Phone) -> None:
        path = f"/v2/accounts/{REALM}/registrations/{phone.username}"
        response = self.http.delete(path, headers={"X-Auth-Token": self.token})
        assert response.status_code == 200, response.text
        self.bound.clear()


@dataclass(frozen=True)
class Stand:
    """Active users, phones that stay registered, the worker's jobs, and the answers about all of them."""

    users: list[User]
    steady: list[Phone]
    jobs: Jobs
    answers: Answers

    def bound(self, *, until: float) -> set[str]:
        """Return the Call-IDs of the bindings that expire after `until`."""
        staying = {phone.call_id for phone in self.steady}
        return staying | {call_id for user in self.users for call_id, expires in user.bound.items() if expires > until}


@pytest.fixture
def stand(
    directory: Directory,
    database: psycopg.Connection,
    postgres: Cluster,
    start_kamailio: StartKamailio,
    start_api: StartApi,
    add_device: AddDevice,
    start_jobs: StartJobs,
) -> Iterator[Stand]:
    """A stand on Kamailio in db_mode 1. The phones that stay are registered already."""
    name, token = database.info.dbname, directory.tokens["admin"]
    registrar = start_kamailio(database_url=postgres.kamailio_url(name, user="registrations_kamailio"))
    http = start_api(kamailio_rpc=registrar.rpc_url)

    def phone(username: str, transport: TransportName) -> Phone:
        user_agent = f"{username} by {transport}"
        return Phone(username, REALM, "secret", proxy=registrar.sip, transport=transport, user_agent=user_agent)

    with ExitStack() as running:
        users = []
        for number in range(USERS):
            add_device(f"user{number}")
            phones = [running.enter_context(phone(f"user{number}", transport)) for transport in ("udp", "tcp")]
            users.append(User(phones, http.application.test_client(), token, random.Random(number)))
        for number in range(STEADY):
            add_device(f"steady{number}")
        steady = [phone(f"steady{number}", "udp") for number in range(STEADY)]
        running.enter_context(Fleet(steady, every=0.3)).wait_until_registered(20)
        yield Stand(users, steady, start_jobs(kamailio_rpc=registrar.rpc_url), Answers(http, token, REALM, database))


def _ask_in_the_midst(stand: Stand) -> None:
    staying = {phone.call_id: phone.user_agent for phone in stand.steady}
    known = {phone.call_id: phone.user_agent for user in stand.users for phone in user.phones} | staying
    for shown in (stand.answers.listed(), stand.answers.exported(), stand.answers.viewed()):
        assert staying.items() <= shown.items() <= known.items()
    assert STEADY <= stand.answers.count() <= len(known)
    devices = stand.answers.registered_devices()
    assert len(set(devices)) == len(devices)
    assert {f"{phone.username}@{REALM}" for phone in stand.steady} <= set(devices)


def _agree(stand: Stand) -> bool:
    before = stand.answers.viewed()
    shown, exported = stand.answers.listed(), stand.answers.exported()
    count, devices = stand.answers.count(), stand.answers.registered_devices()
    if stand.answers.viewed() != before:
        return False  # a binding expired between two answers
    assert shown == exported == before
    assert count == len(shown)
    assert devices == sorted({f"{user_agent.split()[0]}@{REALM}" for user_agent in shown.values()})
    assert stand.bound(until=time.time() + DOUBT_SECONDS) <= shown.keys()
    return True


def test_all_answers_agree_while_phones_come_and_go(stand: Stand) -> None:
    """During REGISTERs and flushes, a phone that stays is in every answer once, and no unknown phone shows. Between
    the rounds list, CSV, view, count and devices/status agree with each other and with the phones."""
    with ThreadPoolExecutor(USERS + 1) as at_work:
        for _ in range(ROUNDS):
            works = [at_work.submit(user.work) for user in stand.users]
            worker = at_work.submit(stand.jobs.enrich)
            while wait(works, timeout=0).not_done:
                _ask_in_the_midst(stand)
            for work in works:
                work.result()
            worker.result()
            rested = time.time()
            wait_until(lambda: _agree(stand), 30, "answers while nothing expires")
            assert stand.answers.viewed().keys() <= stand.bound(until=rested - DOUBT_SECONDS)
