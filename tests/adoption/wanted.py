"""The list of differences that adoption is meant to make, each with its reason.

An entry that does not show in a combination where it should fails the test, too.
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
        key: regular expression for the whole of what differs, `PHONE/STEP/WHAT`, `rows of USER/STEP`, `log/LINE`.
        reason: why that is wanted.
        stock: the same for what the stock proxy shows; empty where it shows nothing of the kind.
        ours: for what the adopted one shows.
        where: in which combinations it must show.
    """

    key: str
    reason: str
    stock: str = ".*"
    ours: str = ".*"
    where: Callable[[Combination], bool] = lambda _: True

    def means(self, key: str, stock: str, ours: str) -> bool:
        """Whether this is about that difference."""
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


REG_ID = "no binding comes of it, so the phone must not hear 200"
BYTES = "PostgreSQL takes no bytes that are not UTF-8, so the phone could not register; now it can, as %HH"
LATE = "what memory has is written now, where PostgreSQL had refused it"
READ = "the same contact and path in memory as in the table"
PERSISTENT = "without WITH_USRLOCDB nothing was written; the operator has chosen --define KAMAILIO_DB_MODE=1"
# Phones whose User-Agent, Contact or Path is not UTF-8, and their users.
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
    Wanted("table version/.*", "auth_db asks there for each table that it reads", ".*", ".*directory_subscriber.*"),
    Wanted("reg-id 0/(refreshes|un-registers)/answer", REG_ID, ".*200 OK", ".*400 Invalid reg-id"),
    Wanted(r"log/.* REGISTER reg-id-N\}.*", REG_ID, "logged", ""),
    *_not_utf8(),
    Wanted("Latin-1 contact/refreshes/contacts", READ, r".*caf\\udce9@.*", ".*caf%e9@.*", where=_is_in_memory),
    Wanted("Latin-1 contact/is called when refreshed/heard", READ, r".*\\udce9.*", ".*%e9.*", where=_is_in_memory),
    Wanted("Latin-1 path/is called when refreshed/heard", READ, r".*\\udce9.*", ".*%e9.*", where=_is_in_memory),
    Wanted("rows of .*/.*", PERSISTENT, "none|", "username.*", where=_is_memory_alone),
)
