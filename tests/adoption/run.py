"""One run: a stock proxy with every phone of the table, a restart, and observations before and after it."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg

from kamailio.rpc import JsonRpcClient
from kamailio.transports.by_url import transport_for
from tests.adoption.features import Combination
from tests.adoption.handset import PATIENCE, Handset
from tests.adoption.ledger import Ledger, Names
from tests.adoption.phones import KINDS, PASSWORD, REALM, Kind, has_ipv6
from tests.adoption.rows import contents, location
from tests.stand.caller import Caller
from tests.stand.phone import NoAnswer
from tests.stand.process import DaemonFailed, wait_until
from tests.stand.stock import StockProxy, stock_proxy

CALLER = "caller"
CALLS = ("is called", "is called after the restart", "is called when refreshed", "is called at last")
WRITE_THROUGH, WRITE_BACK = 1, 2  # db_mode of usrloc
# Only the beginning of a line: the request, and the function of Kamailio. Newer releases of libc write a long line in
# pieces of 128 bytes, which may mix with those of other processes.
ERROR = re.compile(r"(?:ALERT|BUG|CRITICAL|EMERGENCY|ERROR): ((?:\{[^}\n]*\} )?(?:<script>|\S+ \[[^\]\n]*\]: \w+\(\)))")
# A call to a TCP port that the phone has closed fails, and is logged, in two ways: at once or later.
NOISE = re.compile(r"tcpconn_1st_send\(\)|MESSAGE .* (msg_send_buffer|sl_reply_error)\(\)|local_timer_run\(\)")
REFUSED = re.compile(r"(477|408) .*")
NUMBER = re.compile(r"0x[0-9a-f]+|\b\d+\b|z9hG4bK[\w.]+|uloc-[\w-]+")
LOADABLE = """
    select count(*), count(*) filter (where expires > now() at time zone 'UTC') from location where username <> ''
"""

Adopt = Callable[[StockProxy], None]
"""The steps that an operator takes while Kamailio runs. The reference run takes none."""


def kinds_for(combination: Combination) -> list[Kind]:
    """Return the phones that can reach such a proxy on this machine."""
    return [
        each
        for each in KINDS
        if (not each.needs or combination.has(each.needs)) and (each.proxy != "::1" or has_ipv6())
    ]


class Run:
    """The steps of a run. Each writes into the ledger."""

    def __init__(
        self, proxy: StockProxy, url: str, *, kinds: Sequence[Kind], tables: dict[str, list[str]], db_mode: int
    ) -> None:
        self._proxy, self._url, self._tables, self._db_mode = proxy, url, tables, db_mode
        self._log_begins = 0
        self.ledger = Ledger(Names())
        self.ledger.names.give(proxy.port, "proxy")
        self._phones = [Handset(kind, port=proxy.port, ledger=self.ledger) for kind in kinds]

    def close(self) -> None:
        """Close every phone."""
        for phone in self._phones:
            phone.close()

    def play(self, adopt: Adopt) -> None:
        """Take every step. Stop early if Kamailio does not start."""
        self._start()
        self._enrol("registers")
        self._call("is called")
        adopt(self._proxy)
        self._stop("before the restart")
        for phone in self._phones:
            phone.wait_until_lapsed()
        if not self._starts("starts again"):
            return
        self._call("is called after the restart")
        self._enrol("refreshes")
        self._call("is called when refreshed")
        if self._db_mode == WRITE_BACK:  # Kamailio writes its memory when it stops
            self._read_log()
            self._stop("before another restart")
            if not self._starts("starts once more"):
                return
        self._enrol("un-registers", leave=True)
        self._call("is called at last")
        self._read_log()
        self._stop("at last")

    def _stop(self, step: str) -> None:
        self._proxy.stop()
        self._look(step)
        self._log_begins = len(self._proxy.log)

    def _starts(self, step: str) -> bool:
        try:
            self._start()
        except DaemonFailed:
            self._read_log()
            return False
        self.ledger.write(f"kamailio/{step}", "yes")
        return True

    def _start(self) -> None:
        """Start Kamailio and wait until it has loaded its table. The stock configuration cannot report that itself."""
        self._proxy.start()
        wait_until(self._has_loaded, 60, "Kamailio to load its bindings")

    def _has_loaded(self) -> bool:
        """Return whether memory has all rows. It depends on the release whether expired ones are loaded too."""
        if self._db_mode not in {WRITE_THROUGH, WRITE_BACK}:
            return True
        with psycopg.connect(self._url) as database, self._rpc() as client:
            (row,) = database.execute(LOADABLE).fetchall()
            found = re.search(r"location.contacts = (\d+)", str(client.call("stats.get_statistics", "usrloc:")))
        return found is not None and int(found[1]) in row

    def _rpc(self) -> JsonRpcClient:
        return JsonRpcClient(transport_for(self._proxy.rpc_url), timeout=PATIENCE)

    def _enrol(self, step: str, *, leave: bool = False) -> None:
        for phone in self._phones:  # one after another, because some share an AoR
            phone.enrol(step, leave=leave)
        self._look(f"{step}, at once")

    def _call(self, step: str) -> None:
        groups: defaultdict[str, list[Handset]] = defaultdict(list)
        for phone in self._phones:
            groups[phone.aor].append(phone)
        with ThreadPoolExecutor(len(groups)) as pool:  # phones that ring together are called one after another
            list(pool.map(lambda group: self._call_each(group, step), groups.values()))
        if self._db_mode != WRITE_BACK:  # in that mode Kamailio's RPC process has no connection and cannot delete rows
            with self._rpc() as client:
                client.call("ul.flush")  # removes expired bindings, as the timer does
            self._look(step)

    def _call_each(self, phones: Sequence[Handset], step: str) -> None:
        for phone in phones:
            self._call_one(phone, step)

    def _call_one(self, phone: Handset, step: str) -> None:
        phone.wait_until_lapsed()
        call_id = f"{phone.call_id}{CALLS.index(step)}"
        proxy = ("127.0.0.1", self._proxy.port)
        with Caller(CALLER, REALM, PASSWORD, proxy=proxy, transport="tcp", timeout=PATIENCE) as caller:
            try:
                responses = caller.call(phone.called_at, method=phone.kind.method, call_id=call_id)
                answer = ", ".join(f"{each.status} {each.reason}" for each in responses)
            except NoAnswer:
                answer = "no answer"
        if phone.kind.transport == "tcp":
            answer = REFUSED.sub("unreachable", answer)
        self.ledger.write(f"{phone.kind.name}/{step}/answer", answer)
        self.ledger.write(f"{phone.kind.name}/{step}/heard", self.ledger.heard(call_id))

    def _look(self, step: str) -> None:
        found = location(self._url, self.ledger.names)
        for username in {phone.kind.username for phone in self._phones} | found.keys():
            self.ledger.write(f"rows of {username}/{step}", found.get(username, "none"))
        for table, text in contents(self._url, self._tables).items():
            self.ledger.write(f"table {table}/{step}", text)

    def _read_log(self) -> None:
        for line in ERROR.findall(self._proxy.log[self._log_begins :]):
            if not NOISE.search(line):
                self.ledger.write(f"log/{NUMBER.sub('N', self.ledger.names.in_text(line))}", "logged")


def as_kamailio(url: str) -> str:
    """Return the URL for Kamailio: its own role, and the scheme that names db_postgres."""
    return url.replace("postgresql://postgres@", "postgres://kamailio@", 1)


@contextlib.contextmanager
def run(directory: Path, *, url: str, combination: Combination, tables: dict[str, list[str]]) -> Iterator[Run]:
    """Prepare a proxy and its phones. They end with the `with` block.

    Args:
        directory: for the proxy's files.
        url: URL of a database of kamdbctl with the operator's rows, for the superuser.
        combination: what the operator has switched on.
        tables: the result of stock_tables().
    """
    kinds = kinds_for(combination)
    with ExitStack() as stack:
        proxy = stack.enter_context(
            stock_proxy(
                directory,
                database_url=as_kamailio(url),
                realm=REALM,
                features=combination.defines,
                edits=combination.edits,
                persistent=combination.db_mode != 0,
            )
        )
        with (directory / "kamailio-local.cfg").open("a", encoding="utf-8") as local:
            local.write('alias="other.example.com"\n')
            if any(kind.proxy == "::1" for kind in kinds):
                local.write(f"listen=udp:[::1]:{proxy.port}\nlisten=tcp:[::1]:{proxy.port}\n")
        play = Run(proxy, url, kinds=kinds, tables=tables, db_mode=combination.db_mode)
        stack.callback(play.close)
        yield play
