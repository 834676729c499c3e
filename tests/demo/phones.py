"""The simulated phones: username, transport and User-Agent of each."""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.demo.sample import Account, Sample
from tests.stand.fleet import Fleet
from tests.stand.phone import Phone, Request, Response
from tests.stand.process import DaemonFailed, wait_until
from tests.stand.sip_transport import TransportName

EXPIRES = 60
"""Seconds. Phones refresh after half of this time, so a flushed phone is back by then."""

OWN_PHONE = "my-phone"
"""A device of the reseller that no simulated phone uses."""


@dataclass(frozen=True)
class Model:
    """One simulated phone."""

    username: str
    transport: TransportName
    user_agent: str
    ipv6: bool = False


RESELLERS = (
    Model("lobby-door", "udp", "2N IP Verso 2.42.1"),
    Model("meeting-room", "tcp", "PolyTrio-Trio_8800-UA/7.2.6.0218"),
    Model("noc", "udp", "Grandstream GXP2170 1.0.11.79", ipv6=True),
    Model("aiko", "ws", "JsSIP 3.10.1"),
    Model("devon", "tcp", "snomD785/10.1.175.16"),
    Model("marta", "tcp", "LinphoneAndroid/5.2.5 (Marta's Pixel 8) LinphoneSDK/5.3.47"),
    Model("marta", "udp", "PolycomVVX-VVX_411-UA/6.4.6.2453"),
    Model("reception", "udp", "Yealink SIP-T46S 66.86.0.15"),
)
CHILDS = (
    Model("fax", "udp", "Cisco/SPA112-1.4.1(SR5)"),
    Model("surgery-1", "udp", "Fanvil X5U 2.12.1.4"),
    Model("frontdesk", "udp", "Yealink SIP-T54W 96.86.0.100"),
)
OTHER_CHILDS = (
    Model("201", "udp", "N510 IP PRO/42.264.00.000.000 (Gigaset)"),
    Model("202", "tcp", "Z 5.6.4 v2.10.20.4_1 (Zoiper)"),
)


class Phones:
    """All simulated phones, registered from `start` to `stop`. Logs every REGISTER."""

    def __init__(self, sample: Sample, *, proxy: tuple[str, int], ipv6: bool, log: Path) -> None:
        self._sample = sample
        self._proxy = proxy
        self._log = logging.Logger("phones")
        self._handler = logging.FileHandler(log, encoding="utf-8", errors="replace")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self._log.addHandler(self._handler)
        self.by_account: dict[Account, list[Phone]] = {
            account: [self._phone(model, account.realm, ipv6=ipv6) for model in models]
            for account, models in (
                (sample.other_child, OTHER_CHILDS),
                (sample.child, CHILDS),
                (sample.reseller, RESELLERS),
            )
        }
        self.all = [phone for phones in self.by_account.values() for phone in phones]
        self._fleet = Fleet(self.all, patience=2, on_error=lambda _, error: self._log.info("%s", error))

    @property
    def is_running(self) -> bool:
        """Whether the thread that refreshes the phones runs."""
        return any(thread.name == "sip-fleet" for thread in threading.enumerate())

    def start(self, *, check: Callable[[], None]) -> None:
        """Register all phones with digest authentication.

        Raises:
            TimeoutError: some are not registered after 15 seconds.
            DaemonFailed: their thread has died.
        """
        self._fleet.start()

        def registered() -> bool:
            check()
            if not self.is_running:
                raise DaemonFailed("the thread of the phones has died, see above")
            return all(phone.registered for phone in self.all)

        wait_until(registered, 15, "all phones to be registered")

    def refresh(self) -> None:
        """Register all phones now, so that flushed ones are back at once."""
        for phone in self.all:
            phone.register(timeout=2)

    def stop(self) -> None:
        """Un-register and close all phones."""
        self._fleet.stop()
        self._handler.close()

    def summary(self) -> str:
        """Return one line about all phones."""
        transports = Counter({"udp": 0, "tcp": 0, "ws": 0})
        transports.update(phone.transport for phone in self.all)
        accounts = ", ".join(f"{len(phones)} of {account.name}" for account, phones in self.by_account.items())
        return (
            f"{len(self.all)} phones: {accounts}; {transports['udp']} by UDP (one over IPv6), "
            f"{transports['tcp']} by TCP, {transports['ws']} by WebSocket; marta has two"
        )

    def _phone(self, model: Model, realm: str, *, ipv6: bool) -> Phone:
        # Without IPv6 on this machine, the Contact is an IPv6 address for documentation (RFC 3849).
        contact = f"sip:{model.username}@[2001:db8::21]:5060" if model.ipv6 and not ipv6 else None
        return Phone(
            model.username,
            realm,
            self._sample.passwords[model.username, realm],
            proxy=("::1", self._proxy[1]) if model.ipv6 and ipv6 else self._proxy,
            transport=model.transport,
            contact=contact,
            user_agent=model.user_agent,
            expires=EXPIRES,
            on_exchange=self._note,
        )

    def _note(self, request: Request, response: Response) -> None:
        asked, agent = request.headers.get("Expires"), request.headers["User-Agent"]
        self._log.info("%s Expires %s: %s (%s)", request.headers["To"], asked, response.start_line, agent)
