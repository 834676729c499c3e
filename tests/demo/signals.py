"""Signals as flags: the handler only sets a flag, and the main thread acts on it."""

import signal
from types import FrameType

from tests.stand.process import wait_until

STOP_DATABASE, START_DATABASE = signal.SIGUSR1, signal.SIGUSR2


class Interrupted(Exception):
    """The user ended the demo. All parts are stopped, and the exit status is 0."""


class Signals:
    """The signals that arrived since `install`."""

    def __init__(self) -> None:
        self.stops = 0
        self._requests: list[int] = []

    def install(self) -> None:
        """Install handlers for the signals that end the demo (a second one hurries) and for those of the database."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note_stop)
        for number in (STOP_DATABASE, START_DATABASE):
            signal.signal(number, self._note_request)

    @property
    def hurried(self) -> bool:
        """Whether the user asked a second time."""
        return self.stops > 1

    def check(self) -> None:
        """Raise Interrupted if the demo is to end."""
        if self.stops:
            raise Interrupted

    def wait(self, seconds: float) -> int | None:
        """Wait for a signal about the database and return it, or None after `seconds`. Raises Interrupted."""
        try:
            wait_until(lambda: self.stops or self._requests, seconds, "a signal", interval=0.05)
        except TimeoutError:
            return None
        self.check()
        return self._requests.pop(0)

    def _note_stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # the signal module's signature
        self.stops += 1

    def _note_request(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._requests.append(number)
