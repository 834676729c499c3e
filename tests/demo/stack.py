"""All parts of the demo, started one after another and stopped together. PostgreSQL is in database.py."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.demo.content import program
from tests.demo.database import Database
from tests.demo.phones import Phones
from tests.demo.sample import Sample
from tests.demo.settings import HOST, Settings, has_ipv6
from tests.demo.signals import Signals
from tests.stand.kamailio import Proxy, kamailio
from tests.stand.process import Daemon, answers_http, daemon, wait_until

UNREGISTER_SECONDS = 2.0
STOP_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the demo, as shown in the table and watched."""

    name: str
    address: str
    log: Path
    pid: Callable[[], int]
    is_running: Callable[[], bool]


class Stack:
    """Starts the parts on request, and stops all of them at the end of the `with` block."""

    def __init__(self, settings: Settings, sample: Sample, signals: Signals) -> None:
        self._settings = settings
        self._signals = signals
        self._running = contextlib.ExitStack()
        self._daemons: list[Part] = []
        self.ipv6 = has_ipv6()
        self.database = Database(settings)
        self.phones = Phones(sample, proxy=(HOST, settings.sip_port), ipv6=self.ipv6, log=settings.logs / "phones.log")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def api_url(self) -> str:
        """URL of the API."""
        return f"http://{HOST}:{self._settings.api_port}"

    @property
    def rpc_url(self) -> str:
        """URL of Kamailio's JSON-RPC."""
        return f"http://{HOST}:{self._settings.rpc_port}/RPC"

    @property
    def parts(self) -> list[Part]:
        """All parts, PostgreSQL first."""
        postgres = Part(
            name="PostgreSQL",
            address=f"{HOST}:{self._settings.pg_port}",
            log=self._settings.logs / "postgres.log",
            pid=self.database.pid,
            is_running=lambda: True,  # a user may stop it, so that it counts as running
        )
        phones = Part(
            name="phones",
            address="simulated, in this process",
            log=self._settings.logs / "phones.log",
            pid=os.getpid,
            is_running=lambda: self.phones.is_running,
        )
        return [postgres, *self._daemons, phones]

    def start_database(self) -> None:
        """Start PostgreSQL. Raises DaemonFailed."""
        self._link_log("postgres")
        self.database.start()

    def start_kamailio(self) -> None:
        """Start Kamailio. Raises DaemonFailed."""
        self._link_log("kamailio")
        proxy: Proxy = self._running.enter_context(
            kamailio(
                self._settings.directory / "kamailio",
                database_url=self.database.url(user="registrations_kamailio"),
                sip_host=HOST,
                sip_host6="::1" if self.ipv6 else None,
                sip_port=self._settings.sip_port,
                rpc_port=self._settings.rpc_port,
                timer_interval=5,
                min_expires=10,
            )
        )
        self._daemons.append(
            Part(
                name="Kamailio",
                address=f"{HOST}:{self._settings.sip_port} UDP, TCP, WebSocket; RPC {self._settings.rpc_port}",
                log=self._settings.logs / "kamailio.log",
                pid=lambda: proxy.pid,
                is_running=lambda: proxy.is_running,
            )
        )

    def start_worker_and_api(self) -> None:
        """Start worker and API at the same time and wait until both work. Raises DaemonFailed."""
        kamailio_rpc = {"REGISTRATIONS_KAMAILIO_RPC": self.rpc_url}
        worker = self._start_daemon(
            "worker",
            ["registrations-sync", "run"],
            address="no port",
            env={"REGISTRATIONS_DATABASE_URL": self.database.url(user="registrations_sync"), **kamailio_rpc},
        )
        api = self._start_daemon(
            "API",
            ["registrations-api", "serve"],
            address=self.api_url,
            env={
                "REGISTRATIONS_DATABASE_URL": self.database.url(user="registrations_api"),
                "REGISTRATIONS_API_BIND": f"{HOST}:{self._settings.api_port}",
                **kamailio_rpc,
            },
        )
        worker.wait_ready(lambda: self._signals.stops or "action=lead" in worker.log_text(), 20)
        api.wait_ready(lambda: self._signals.stops or answers_http(self._settings.api_port), 20)

    def find_dead(self) -> Part | None:
        """Return the first part other than PostgreSQL that has stopped, or None."""
        self.database.reap()
        return next((part for part in self.parts if not part.is_running()), None)

    def _start_daemon(self, name: str, command: list[str], *, address: str, env: dict[str, str]) -> Daemon:
        log = self._settings.logs / f"{name.lower()}.log"
        child = self._running.enter_context(daemon([program(command[0]), *command[1:]], log=log, name=name, env=env))
        self._daemons.append(
            Part(name=name, address=address, log=log, pid=lambda: child.pid, is_running=child.is_running)
        )
        return child

    def _link_log(self, name: str) -> None:
        # The stand keeps a daemon's log beside its data. The demo keeps all logs in one directory.
        log = self._settings.directory / name / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        log.unlink(missing_ok=True)
        log.symlink_to(self._settings.logs / f"{name}.log")

    def _end(self) -> None:
        self._wait(self._unregister(), UNREGISTER_SECONDS)
        for part in self._daemons:
            if part.is_running():
                os.kill(part.pid(), signal.SIGTERM)
        self._wait(lambda: not any(part.is_running() for part in self._daemons), STOP_SECONDS)
        for part in self._daemons:
            if part.is_running():
                os.killpg(part.pid(), signal.SIGKILL)  # each leads its own process group
        self._running.close()
        self.database.end(hurried=lambda: self._signals.hurried)

    def _unregister(self) -> Callable[[], bool]:
        # In a thread: a Kamailio that does not answer must not delay the end.
        thread = threading.Thread(target=self.phones.stop, daemon=True)
        thread.start()
        return lambda: not thread.is_alive()

    def _wait(self, ended: Callable[[], bool], seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: ended() or self._signals.hurried, seconds, "the end")
