"""The list of differences that adoption is meant to make, each with its reason.

The test also fails if an entry does not show in a combination where it should.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.adoption.features import Combination


@dataclass(frozen=True)
class Wanted:
    """One kind of difference.

    Attributes:
        key: regular expression for the whole key, `PHONE/STEP/WHAT`, `rows of USER/STEP` or `log/LINE`.
        reason: why the difference is wanted.
        stock: regular expression for the observation at the stock proxy; empty if there is none.
        ours: the same for the adopted proxy.
        where: returns whether it must show in a combination.
    """

    key: str
    reason: str
    stock: str = ".*"
    ours: str = ".*"
    where: Callable[[Combination], bool] = lambda _: True

    def means(self, key: str, stock: str, ours: str) -> bool:
        """Return whether this entry covers that difference."""
        pairs = ((self.key, key), (self.stock, stock), (self.ours, ours))
        return all(re.fullmatch(pattern, text, re.DOTALL) for pattern, text in pairs)


def _is_written_at_once(combination: Combination) -> bool:
    return combination.db_mode in {1, 3}


def _is_written_later(combination: Combination) -> bool:
    return combination.db_mode == 2


def _is_memory_alone(combination: Combination) -> bool:
    return combination.db_mode == 0


def _is_in_memory(combination: Combination) -> bool:
    return combination.db_mode in {0, 2}


REG_ID = "the registrar stores no binding, so the phone must not get a 200"
BYTES = "PostgreSQL refuses bytes that are not UTF-8, so the phone could not register; now they are stored as %HH"
LATE = "PostgreSQL used to refuse the row when usrloc wrote its memory; now it is written"
READ = "contact and path are the same in memory as in the table"
PERSISTENT = "without WITH_USRLOCDB nothing was stored; the operator has chosen --define KAMAILIO_DB_MODE=1"
# Phones whose User-Agent, Contact or Path is not UTF-8, with their users.
NOT_UTF8 = {
    "Latin-1 agent": "latin1",
    "Latin-1 agent, folded": "latin1-fold",
    "Latin-1 contact": "latin1-contact",
    "Latin-1 path": "latin1-path",
}


def _not_utf8() -> list[Wanted]:
    found = []
    for name, user in NOT_UTF8.items():
        call = re.sub("[ ,]+", "-", name).replace("1", "N")
        log = rf"log/.*REGISTER {call}\}}.*"
        found += [
            Wanted(f"{name}/refreshes/answer", BYTES, ".*500 .*", ".*200 OK", where=_is_written_at_once),
            Wanted(f"{name}/refreshes/contacts", BYTES, "none", "<sip:.*", where=_is_written_at_once),
            Wanted(f"{name}/is called when refreshed/answer", BYTES, ".*404 .*", ".*200 OK", where=_is_written_at_once),
            Wanted(f"{name}/is called when refreshed/heard", BYTES, "nobody.*", ".*heard.*", where=_is_written_at_once),
            Wanted(f"rows of {user}/.*refreshe[sd].*", BYTES, "none", "username.*", where=_is_written_at_once),
            Wanted(log, BYTES, "logged", "", where=_is_written_at_once),
            Wanted(f"rows of {user}/before another restart", LATE, "none", "username.*", where=_is_written_later),
            Wanted(f"rows of {user}/un-registers, at once", LATE, "none", "username.*", where=_is_written_later),
        ]
    return found


WANTED: tuple[Wanted, ...] = (
    Wanted("table version/.*", "auth_db looks up each table that it reads there", ".*", ".*directory_subscriber.*"),
    Wanted("reg-id 0/(refreshes|un-registers)/answer", REG_ID, ".*200 OK", ".*400 Invalid reg-id"),
    Wanted(r"log/.* REGISTER reg-id-N\}.*", REG_ID, "logged", ""),
    *_not_utf8(),
    Wanted("Latin-1 contact/refreshes/contacts", READ, r".*caf\\udce9@.*", ".*caf%e9@.*", where=_is_in_memory),
    Wanted("Latin-1 contact/is called when refreshed/heard", READ, r".*\\udce9.*", ".*%e9.*", where=_is_in_memory),
    Wanted("Latin-1 path/is called when refreshed/heard", READ, r".*\\udce9.*", ".*%e9.*", where=_is_in_memory),
    Wanted("rows of .*/.*", PERSISTENT, "none|", "username.*", where=_is_memory_alone),
)
