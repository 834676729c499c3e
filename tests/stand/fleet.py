"""Many phones that one scheduler thread keeps registered."""

import threading
from collections.abc import Callable, Iterable
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tests.stand.sip_agent import NoAnswer

if TYPE_CHECKING:
    from tests.stand.phone import Phone

LOOK = 1.0
"""Longest time in seconds between two checks for phones whose connection the proxy closed."""


class Fleet:
    """Phones that register at the start and refresh until the stop, one after another in a thread of the fleet.

    Args:
        phones: the phones; the fleet closes them when it stops.
        every: seconds between two refreshes; None means half of what the registrar granted.
        pause: seconds until the next attempt after an error status or a timeout.
        patience: seconds to wait for one response. Keep it short: the other phones wait meanwhile.
        on_error: called in the fleet's thread with each failure: NoAnswer, or RuntimeError with the status.

    A phone whose connection the proxy closed registers again within a second. As a context manager the fleet starts
    at the beginning, and at the end it stops and un-registers.
    """

    def __init__(
        self,
        phones: "Iterable[Phone]",
        *,
        every: float | None = None,
        pause: float = 5.0,
        patience: float = 4.0,
        on_error: "Callable[[Phone, Exception], None] | None" = None,
    ) -> None:
        self.phones = list(phones)
        self._every, self._pause, self._patience = every, pause, patience
        self._on_error = on_error
        self._stopping = threading.Event()
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Start the thread and return at once. A stopped fleet may start again."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="sip-fleet", daemon=True)
            self._thread.start()
        return self

    def wait_until_registered(self, timeout: float) -> None:
        """Wait until every phone has a binding; raises TimeoutError after `timeout` seconds."""
        with self._news:
            if not self._news.wait_for(lambda: all(phone.registered for phone in self.phones), timeout):
                missing = [phone for phone in self.phones if not phone.registered]
                raise TimeoutError(f"{len(missing)} of {len(self.phones)} phones not registered: {missing[:5]}")

    def stop(self, *, unregister: bool = True) -> None:
        """Stop the thread, un-register unless told otherwise, and close the phones. May be called again.

        Once a proxy does not answer one phone, the others are not un-registered there, so that the stop is quick.
        """
        self._stopping.set()
        running, self._thread = self._thread, None
        if running is None:
            return
        running.join()
        silent = set()
        for phone in self.phones:
            if unregister and phone.registered and (phone.proxy, phone.transport) not in silent:
                try:
                    phone.unregister(timeout=self._patience)
                except NoAnswer as error:
                    silent.add((phone.proxy, phone.transport))
                    self._report(phone, error)
            phone.close()

    def _run(self) -> None:
        due = dict.fromkeys(self.phones, 0.0)
        while not self._stopping.is_set():
            for phone in self.phones:
                if self._stopping.is_set():
                    return
                if due[phone] <= monotonic() or (phone.registered and phone.lost):
                    pause = self.refresh(phone)
                    due[phone] = monotonic() + pause
            left = min(due.values(), default=LOOK + monotonic()) - monotonic()
            self._stopping.wait(max(0.0, min(left, LOOK)))

    def refresh(self, phone: "Phone") -> float:
        """Register one phone now and return the seconds until its next refresh."""
        try:
            response = phone.register(timeout=self._patience)
        except NoAnswer as error:
            self._report(phone, error)
            return self._pause
        with self._news:
            self._news.notify_all()
        if phone.registered:
            return phone.granted / 2 if self._every is None else self._every
        self._report(phone, RuntimeError(f"{phone!r}: {response.start_line}"))
        return self._pause

    def _report(self, phone: "Phone", error: Exception) -> None:
        if self._on_error is not None:
            self._on_error(phone, error)


def keep_registered(
    phones: "Iterable[Phone]",
    *,
    every: float | None = None,
    pause: float = 5.0,
    patience: float = 4.0,
    on_error: "Callable[[Phone, Exception], None] | None" = None,
) -> Fleet:
    """Return a fleet that has started. The arguments are those of Fleet."""
    return Fleet(phones, every=every, pause=pause, patience=patience, on_error=on_error).start()
