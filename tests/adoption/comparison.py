"""Runs one combination with and without adoption, and compares the two runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql

from tests.adoption.features import Combination
from tests.adoption.phones import KINDS, PASSWORD, REALM
from tests.adoption.rows import SEPARATOR, stock_tables
from tests.adoption.run import CALLER, as_kamailio, run
from tests.adoption.wanted import WANTED, Wanted
from tests.stand.postgres import Cluster
from tests.stand.stock import StockProxy

# A binding that no phone refreshes. Without one the test could not tell when usrloc has loaded its table, and phones
# that register before that may be loaded twice.
LOADED = """
    insert into location (ruid, username, domain, contact, expires, callid, cseq, last_modified, user_agent, socket)
    select 'uloc-1', 'stays', 'example.com', 'sip:stays@192.0.2.8', utc + interval '1 year', 'stays', 1, utc, 'x', ''
    from (select date_trunc('second', now() at time zone 'UTC') as utc) clock
"""
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Difference:
    """One observation without adoption and with it. None where nothing of that kind was seen."""

    key: str
    stock: str | None
    ours: str | None

    def __str__(self) -> str:
        stock, ours = (["-"] if text is None else text.split("\n") for text in (self.stock, self.ours))
        lines = [self.key]
        for kind, *(a, b, c, d) in SequenceMatcher(None, stock, ours, autojunk=False).get_opcodes():
            for before, after in zip_longest(stock[a:b], ours[c:d], fillvalue="-") if kind != "equal" else ():
                lines += [f"    stock:   {_except(before, after)}", f"    adopted: {_except(after, before)}"]
        return "\n".join(lines)

    def is_wanted(self, wanted: Wanted) -> bool:
        """Return whether this entry of the list covers the difference."""
        return wanted.means(self.key, self.stock or "", self.ours or "")


def _except(row: str, other: str) -> str:
    """Return the columns of a row that the other row does not have."""
    return SEPARATOR.join(each for each in row.split(SEPARATOR) if each not in other.split(SEPARATOR)) or row


@dataclass(frozen=True)
class Comparison:
    """The result for one combination.

    Attributes:
        combination: the combination.
        looks: number of observations that were compared.
        differences: unwanted differences.
        wanted: differences that are in the list.
        missing: entries of the list that should show here but do not.
    """

    combination: Combination
    looks: int
    differences: list[Difference]
    wanted: list[Difference]
    missing: list[Wanted]

    @property
    def holds(self) -> bool:
        """Whether adoption made all wanted differences and no other."""
        return not self.differences and not self.missing

    def __str__(self) -> str:
        lines = [f"{self.combination}: {self.looks} looks, {len(self.wanted)} wanted differences"]
        lines += [f"differs: {each}" for each in self.differences]
        lines += [f"listed as wanted, but does not differ: {each.key} ({each.reason})" for each in self.missing]
        return "\n".join(lines)


def differences(stock: Mapping[str, str], ours: Mapping[str, str]) -> list[Difference]:
    """Return the differences of two ledgers. If one proxy did not start, return only that and its log."""
    found = [
        Difference(key, stock.get(key), ours.get(key))
        for key in dict.fromkeys([*stock, *ours])
        if stock.get(key) != ours.get(key)
    ]
    if any(each.key.startswith("kamailio/") for each in found):
        return [each for each in found if re.match("kamailio/|log/", each.key) and each.stock != "logged"]
    return found


def judge(combination: Combination, stock: Mapping[str, str], ours: Mapping[str, str]) -> Comparison:
    """Compare the differences with the list of wanted ones."""
    found = differences(stock, ours)
    expected = [each for each in WANTED if each.where(combination)]
    wanted = [each for each in found if any(each.is_wanted(entry) for entry in expected)]
    missing = [entry for entry in expected if not any(each.is_wanted(entry) for each in found)]
    rest = [each for each in found if each not in wanted]
    return Comparison(combination, len(stock.keys() | ours.keys()), rest, wanted, missing)


def compare(combination: Combination, *, directory: Path, postgres: Cluster, template: str) -> Comparison:
    """Play both runs at the same time, each on its own database, and judge.

    Args:
        combination: features and db_mode.
        directory: for files; created if missing.
        postgres: the cluster with the template.
        template: a database that kamdbctl made.
    """
    with ExitStack() as stack:
        urls = [stack.enter_context(_database(postgres, template, combination)) for _ in range(2)]
        tables = stock_tables(urls[0])
        plays = [
            stack.enter_context(run(directory / name, url=url, combination=combination, tables=tables))
            for name, url in zip(("stock", "adopted"), urls, strict=True)
        ]
        steps = (lambda _: None, lambda proxy: adopt(proxy, urls[1], combination))
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda pair: pair[0].play(pair[1]), zip(plays, steps, strict=True)))
        stock, ours = (play.ledger.lines for play in plays)
    return judge(combination, stock, ours)


class StepFailed(AssertionError):
    """A step of the adoption guide failed. The message has the command's output."""


def adopt(proxy: StockProxy, url: str, combination: Combination) -> None:
    """Migrate and patch while Kamailio runs, as the adoption guide says.

    Raises:
        StepFailed: names the command, with its output.
    """
    defines: list[str] = []
    if combination.db_mode == 0:  # usrloc stores nothing, so patch asks for a mode and a database
        defines = ["--define", "KAMAILIO_DB_MODE=1", "--define", f'KAMAILIO_DB_URL="{as_kamailio(url)}"']
    _do(url, "registrations-db", "migrate")
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("grant registrations_kamailio to kamailio")
    _do(url, "registrations-kamailio", "patch", "--write", *defines, proxy.configuration)


def _do(url: str, command: str, *arguments: str | Path) -> None:
    environment = {**os.environ, "REGISTRATIONS_DATABASE_URL": url}
    done = subprocess.run(
        [BIN / command, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        raise StepFailed(f"{command} {' '.join(map(str, arguments))}: {done.stderr or done.stdout}")


@contextmanager
def _database(postgres: Cluster, template: str, combination: Combination) -> Iterator[str]:
    """Make a database with the phones as subscribers and the features' data; yield its URL."""
    name = f"adoption_{uuid4().hex}"
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template)))
    try:
        with psycopg.connect(postgres.url(name), autocommit=True) as database:
            users = sorted({CALLER, *(kind.username for kind in KINDS)})
            database.cursor().executemany(
                "insert into subscriber (username, domain, password) values (%s, %s, %s)",
                [(user, REALM, PASSWORD) for user in users],
            )
            database.execute(LOADED)
            for part in combination.parts:
                for statement in part.statements:
                    database.execute(statement.encode())
        yield postgres.url(name)
    finally:
        with psycopg.connect(postgres.url(), autocommit=True) as admin:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
