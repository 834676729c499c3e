"""The simulated phone and the fleet, against a small Kamailio that keeps its registrations in memory."""

import contextlib
import itertools
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stand.phone import Fleet, NoAnswer, Phone, Request, keep_registered
from tests.stand.process import Daemon, daemon, free_port, port_taken, wait_until
from tests.stand.sip_transport import TransportName

CONFIG = """#!KAMAILIO
log_stderror=yes
children=2
tcp_children=2
tcp_accept_no_cl=yes
auto_aliases=no
alias="example.com"
{listen}
loadmodule "jsonrpcs.so"
loadmodule "kex.so"
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "xhttp.so"
loadmodule "websocket.so"
loadmodule "nathelper.so"
modparam("jsonrpcs", "transport", 1)
modparam("usrloc", "db_mode", 0)
modparam("registrar", "received_avp", "$avp(received)")
modparam("nathelper", "received_avp", "$avp(received)")

request_route {{
    if (!is_method("REGISTER")) exit;
    if (!pv_www_authenticate("$td", "secret", "0")) {{
        if ($hdr(X-Plain) != $null) www_challenge("$td", "0"); else www_challenge("$td", "1");
        exit;
    }}
    $avp(received) = $su;
    save("location");
}}
event_route[xhttp:request] {{
    if ($hdr(Upgrade) =~ "websocket") {{
        ws_handle_handshake();
        exit;
    }}
    jsonrpc_dispatch();
}}
"""


class Proxy:
    """A small Kamailio on one port of 127.0.0.1 and ::1, by UDP, TCP and WebSocket."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.directory = directory
        hosts = [f"{proto}:{host}:{self.port}" for proto in ("udp", "tcp") for host in ("127.0.0.1", "[::1]")]
        self._config = directory / "kamailio.cfg"
        self._config.write_text(CONFIG.format(listen="\n".join(f"listen={host}" for host in hosts)))

    @contextlib.contextmanager
    def running(self) -> Iterator[Daemon]:
        command: list[str | Path] = ["kamailio", "-DD", "-E", "-m", "32", "-f", self._config, "-Y", self.directory]
        log = self.directory / "kamailio.log"
        with daemon([*command, "-P", self.directory / "pid"], log=log, ready=self._answers) as child:
            yield child

    def rpc(self, method: str, *params: str) -> dict[str, Any]:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/RPC", body)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _AnyStatus())
        with opener.open(request, timeout=5) as reply:
            answer: dict[str, Any] = json.loads(reply.read().decode("utf-8", "surrogateescape"))
            return answer

    def send(self, method: str, phone: Phone, *, headers: str = "") -> None:
        """Make the proxy send a request to the address that the phone registered from."""
        contact = self.contacts(phone)[phone.contact]
        head = f"From: <sip:config@example.com>\r\nTo: <{phone.aor}>\r\n{headers}"
        params = (method, phone.contact, contact["Received"], contact["Socket"], head)
        assert "error" not in self.rpc("tm.t_uac_start", *params)

    def contacts(self, phone: Phone) -> dict[str, dict[str, Any]]:
        """Return the bindings of the phone's AoR in the proxy's memory, by contact."""
        answer = self.rpc("ul.lookup", "location", phone.username)
        found = [each["Contact"] for each in answer["result"]["Contacts"]] if "result" in answer else []
        return {each["Address"]: each for each in found}

    def answers(self) -> int:
        """Return how many 2xx responses the proxy has received."""
        [line] = self.rpc("stats.get_statistics", "rcv_replies_2xx")["result"]
        return int(line.split("=")[1])

    def _answers(self) -> bool:
        return port_taken("127.0.0.1", self.port)


class _AnyStatus(urllib.request.HTTPErrorProcessor):
    """Lets every HTTP status pass: Kamailio sends a JSON-RPC error with an error status, and only its body counts."""

    def http_response(self, request: Any, response: Any) -> Any:  # noqa: ARG002
        return response


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    made = Proxy(tmp_path_factory.mktemp("kamailio"))
    with made.running():
        yield made


USERS = (f"user{number}" for number in itertools.count())


@pytest.fixture
def make_phone() -> Iterator[Callable[..., Phone]]:
    """Make phones, each of a new user unless told otherwise, and close them at the end."""
    with contextlib.ExitStack() as stack:

        def make(at: Proxy, /, *, username: str | None = None, password: str = "secret", **more: Any) -> Phone:
            more = {"proxy": ("127.0.0.1", at.port)} | more
            return stack.enter_context(Phone(username or next(USERS), "example.com", password, **more))

        yield make


TRANSPORTS: list[TransportName] = ["udp", "tcp", "ws"]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_phone_registers(proxy: Proxy, make_phone: Callable[..., Phone], host: str, transport: TransportName) -> None:
    """A phone registers by every transport over IPv4 and IPv6, from the address that its Contact names."""
    phone = make_phone(proxy, proxy=(host, proxy.port), transport=transport)

    response = phone.register(600)

    assert (response.status, phone.granted, phone.registered) == (200, 600, True)
    stored = proxy.contacts(phone)
    assert list(stored) == [phone.contact]
    at = f"[{host}]" if ":" in host else host
    suffix = "" if transport == "udp" else f";transport={transport}"
    assert stored[phone.contact]["Received"] == f"sip:{at}:{phone.local[1]}{suffix}"
    where = f"@{at}:{phone.local[1]}{suffix}" if transport != "ws" else ".invalid;transport=ws"
    assert phone.contact.endswith(where)


def test_wrong_password_is_refused_with_the_final_401(proxy: Proxy, make_phone: Callable[..., Phone]) -> None:
    """A phone tries a wrong password once and returns the 401 instead of raising an error."""
    exchanges: list[int] = []
    phone = make_phone(proxy, password="wrong", on_exchange=lambda _, answer: exchanges.append(answer.status))

    response = phone.register()

    assert (response.status, phone.registered, exchanges) == (401, False, [401, 401])
    assert proxy.contacts(phone) == {}


def test_challenge_without_qop_is_answered(proxy: Proxy, make_phone: Callable[..., Phone]) -> None:
    """A challenge without qop is answered by RFC 2069."""
    sent: list[Request] = []
    phone = make_phone(proxy, extra_headers={"X-Plain": "1"}, on_exchange=lambda request, _: sent.append(request))

    assert phone.register().status == 200
    assert "qop" not in sent[-1].headers["Authorization"]


def test_refresh_keeps_call_id_and_raises_cseq(proxy: Proxy, make_phone: Callable[..., Phone]) -> None:
    """A refresh keeps the binding: one contact, the same Call-ID, a higher CSeq."""
    phone = make_phone(proxy)
    phone.register()
    [before] = proxy.contacts(phone).values()

    phone.register()

    [after] = proxy.contacts(phone).values()
    assert after["Ruid"] == before["Ruid"]
    assert after["Call-ID"] == before["Call-ID"] == phone.call_id
    assert after["CSeq"] == phone.cseq > before["CSeq"]


def test_unregister_takes_only_the_own_contact(proxy: Proxy, make_phone: Callable[..., Phone]) -> None:
    """Two phones of one user are two bindings. One that un-registers does not remove the other."""
    first = make_phone(proxy)
    second = make_phone(proxy, username=first.username, transport="tcp")
    first.register()
    response = second.register()
    assert set(response.contacts) == set(proxy.contacts(first)) == {first.contact, second.contact}

    assert first.unregister().ok

    assert (first.registered, first.granted) == (False, 0)
    assert set(proxy.contacts(first)) == {second.contact}


def test_unregister_all_takes_every_contact(proxy: Proxy, make_phone: Callable[..., Phone]) -> None:
    """Contact: * removes the bindings of all phones of the user."""
    first = make_phone(proxy)
    second = make_phone(proxy, username=first.username)
    first.register()
    second.register()

    assert second.unregister_all().status == 200

    assert proxy.contacts(first) == {}


def test_explicit_identity_reaches_the_proxy(proxy: Proxy, make_phone: Callable[..., Phone]) -> None:
    """Contact, Call-ID, User-Agent, instance and a username that needs escaping arrive unchanged."""
    urn = "urn:uuid:00000000-0000-4000-8000-000AB4600001"
    phone = make_phone(
        proxy,
        username="with space",
        auth_username="other",
        contact="sip:x@abc.invalid;transport=ws",
        call_id="id-of-ours",
        user_agent="caf\udce9",
        instance=urn,
    )

    assert phone.register().status == 200

    answer = proxy.rpc("ul.lookup", "location", "with space")
    stored = answer["result"]["Contacts"][0]["Contact"]
    assert (stored["Address"], stored["Call-ID"]) == ("sip:x@abc.invalid;transport=ws", "id-of-ours")
    assert stored["User-Agent"] == "caf\udce9"
    assert stored["Instance"] == f"<{urn}>"
    assert stored["Reg-Id"] == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_request_of_the_proxy_is_answered(
    proxy: Proxy, make_phone: Callable[..., Phone], transport: TransportName
) -> None:
    """A request of the proxy arrives on the phone's own connection, is kept, and is answered by its method."""
    phone = make_phone(proxy, transport=transport)
    phone.register()
    before = proxy.answers()

    proxy.send("OPTIONS", phone)
    proxy.send("NOTIFY", phone, headers="Event: check-sync;reboot=false\r\n")

    assert phone.wait_for_request("NOTIFY").headers["Event"] == "check-sync;reboot=false"
    assert phone.wait_for_request("OPTIONS").uri == phone.contact
    assert sorted(each.method for each in phone.received) == ["NOTIFY", "OPTIONS"]

    wait_until(lambda: proxy.answers() == before + 2, 5, "both 200 to reach the proxy")


@pytest.mark.parametrize("transport", ["tcp", "ws"])
def test_phone_connects_again_after_the_proxy_went(
    tmp_path: Path, make_phone: Callable[..., Phone], transport: TransportName
) -> None:
    """A phone notices that the proxy closed its connection, and registers next on a new one."""
    proxy = Proxy(tmp_path)
    phone = make_phone(proxy, transport=transport)
    with proxy.running():
        phone.register()
    wait_until(lambda: phone.lost, 5, "the phone to see its connection closed")
    with pytest.raises(NoAnswer):
        phone.register()
    assert not phone.registered

    with proxy.running():
        assert phone.register().status == 200
        assert list(proxy.contacts(phone)) == [phone.contact]


def test_close_leaves_the_binding_and_register_opens_again(proxy: Proxy, make_phone: Callable[..., Phone]) -> None:
    """Closing a phone does not un-register it, and a closed phone can register again."""
    phone = make_phone(proxy, contact="sip:me@192.168.1.2:5060")
    phone.register()

    phone.close()
    phone.close()

    assert list(proxy.contacts(phone)) == ["sip:me@192.168.1.2:5060"]
    assert phone.register().status == 200


def test_fleet_survives_a_restart_of_the_proxy(tmp_path: Path, make_phone: Callable[..., Phone]) -> None:
    """Phones of every transport register again after a restart of the proxy, and un-register at the stop."""
    proxy = Proxy(tmp_path)
    phones = [make_phone(proxy, transport=transport) for transport in TRANSPORTS]
    errors: list[Exception] = []
    fleet = Fleet(phones, every=0.2, pause=0.1, patience=1, on_error=lambda _, error: errors.append(error))
    with fleet:
        with proxy.running():
            fleet.wait_until_registered(20)
            cseq = [phone.cseq for phone in phones]
            wait_until(lambda: all(p.cseq > n for p, n in zip(phones, cseq, strict=True)), 20, "refreshes")
        wait_until(lambda: not any(phone.registered for phone in phones), 20, "the phones to notice")
        assert all(isinstance(error, NoAnswer) for error in errors)
        with proxy.running():
            fleet.wait_until_registered(20)
            assert all(list(proxy.contacts(phone)) == [phone.contact] for phone in phones)

            fleet.stop()

            assert [proxy.contacts(phone) for phone in phones] == [{}, {}, {}]


def test_fleet_registers_again_when_a_connection_is_lost(tmp_path: Path, make_phone: Callable[..., Phone]) -> None:
    """A phone whose connection the proxy closed registers again before its next refresh is due."""
    proxy = Proxy(tmp_path)
    phones = [make_phone(proxy, transport=transport) for transport in ("tcp", "ws")]
    with Fleet(phones, every=3600, pause=0.1) as fleet:
        with proxy.running():
            fleet.wait_until_registered(20)
        with proxy.running():
            wait_until(lambda: all(proxy.contacts(phone) for phone in phones), 20, "both to come back")


def test_fleet_refreshes_in_time(proxy: Proxy, make_phone: Callable[..., Phone]) -> None:
    """The next refresh is due after half of the granted time, the caller's interval, or the pause for errors."""
    phone, wrong = make_phone(proxy, expires=120), make_phone(proxy, password="wrong")

    assert Fleet([phone]).refresh(phone) == 60
    assert Fleet([phone], every=7).refresh(phone) == 7
    assert Fleet([phone], pause=9).refresh(wrong) == 9


def test_fleet_may_leave_its_bindings(proxy: Proxy, make_phone: Callable[..., Phone]) -> None:
    """A fleet that stops without un-registering leaves its bindings in the proxy."""
    phone = make_phone(proxy, contact="sip:me@192.168.1.3:5060")
    fleet = keep_registered([phone])
    try:
        fleet.wait_until_registered(20)
    finally:
        fleet.stop(unregister=False)

    assert list(proxy.contacts(phone)) == ["sip:me@192.168.1.3:5060"]


def test_command_keeps_the_binding_until_it_is_interrupted(proxy: Proxy, tmp_path: Path) -> None:
    """The command prints its exchanges, keeps the binding until Ctrl-C and then removes it."""
    command = [sys.executable, "-m", "tests.stand.phone", "--proxy", f"127.0.0.1:{proxy.port}"]
    command += ["--username", "hand", "--realm", "example.com", "--password", "secret"]
    log = tmp_path / "phone.log"
    root = Path(__file__).parents[2]
    with Phone("hand", "example.com", "", proxy=("127.0.0.1", proxy.port)) as hand:
        with daemon(command, log=log, ready=lambda: proxy.contacts(hand), cwd=root) as child:
            assert child.stop(number=signal.SIGINT) == 0
        assert proxy.contacts(hand) == {}
    assert "SIP/2.0 401 Unauthorized" in log.read_text()
    assert log.read_text().count("SIP/2.0 200 OK") >= 2


def test_command_reports_a_refusal_in_one_line(proxy: Proxy) -> None:
    """A refused registration ends the command with exit status 1 and the proxy's status line."""
    command = [sys.executable, "-m", "tests.stand.phone", "--proxy", f"[::1]:{proxy.port}", "--once"]
    command += ["--username", "hand2", "--realm", "example.com", "--password", "wrong", "--transport", "tcp"]
    ended = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=30, check=False
    )

    assert (ended.returncode, ended.stderr) == (1, "Error: refused: SIP/2.0 401 Unauthorized\n")
