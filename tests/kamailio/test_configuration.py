"""The files that Kamailio loads: Kamailio accepts them, and they keep their promises to phones and operators."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from kamailio import usrloc
from kamailio.notify import Target, notify
from tests.fixtures.kamailio import AddDevice, StartKamailio
from tests.stand.kamailio import CONFIGURATION, Proxy
from tests.stand.memory import contacts
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.process import daemon, free_port, port_taken, wait_until
from tests.stand.stock import STOCK, stock_save

SITE = """
#!define WITH_USRLOCDB
#!define WITH_AUTH
#!define WITH_NAT
#!define DBURL "{url}"
#!define KAMAILIO_DB_MODE 1
#!define KAMAILIO_EXPIRES_TYPE 1
#!define KAMAILIO_RPC_LISTEN 127.0.0.1
#!define REGISTRATIONS_AUTH_HA1
#!trydefenv KAMAILIO_LISTEN_PORT
loadmodule "db_postgres.so"
listen=udp:127.0.0.1:KAMAILIO_LISTEN_PORT
listen=tcp:127.0.0.1:KAMAILIO_LISTEN_PORT
auto_aliases=no
alias="example.com"
"""


BARE = """#!KAMAILIO
children=1
auto_aliases=no
listen=udp:127.0.0.1:{port}
listen=tcp:127.0.0.1:{port}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "jsonrpcs.so"
request_route {{
	sl_send_reply("200", "OK");
}}
"""
HTTP_REQUESTS = (
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\nContent-Length: 0\r\n\r\n",
    b"POST /RPC HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
)
AND_SIP = (
    b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:b@c>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


def sent_to(port: int, request: bytes) -> bytes:
    """Return the first line that answers SIP after a request on the same connection; b"" if the connection closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        try:
            connection.sendall(request)
            connection.sendall(AND_SIP)
            return connection.recv(65536).split(b"\r\n")[0]
        except ConnectionError:
            return b""


def check(configuration: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `kamailio -c` with only these variables of ours."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("KAMAILIO_")}
    return subprocess.run(
        ["kamailio", "-c", "-f", str(configuration)],
        env={**others, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def stock_configuration(directory: Path, url: str) -> Path:
    """Write Debian's kamailio.cfg with the edits that registrations.cfg asks for, and a kamailio-local.cfg."""
    if not STOCK.exists():
        pytest.skip("no stock kamailio.cfg of the distribution")
    edited = STOCK.read_text(encoding="utf-8").replace(
        stock_save(),
        '\troute(REGISTRATIONS_PRESAVE);\n\tif (!save("location")) {\n\t\texit;\n\t}\n'
        "\troute(REGISTRATIONS_POSTSAVE);\n",
    )
    path = directory / "kamailio.cfg"
    path.write_text(f'{edited}\ninclude_file "{CONFIGURATION.parent}/registrations.cfg"\n', encoding="utf-8")
    site = SITE.format(url=url.replace("postgresql://", "postgres://"))
    (directory / "kamailio-local.cfg").write_text(site, encoding="utf-8")
    return path


def test_kamailio_accepts_the_configuration() -> None:
    """kamailio.cfg and registrations.cfg are valid with only the database's URL, and with every variable."""
    url = "postgres://kamailio@127.0.0.1/kamailio"
    for environment in (
        {},
        {
            "KAMAILIO_DB_MODE": "3",
            "KAMAILIO_EXPIRES_TYPE": "0",
            "KAMAILIO_USE_DOMAIN": "0",
            "KAMAILIO_TIMER_INTERVAL": "60",
            "KAMAILIO_SERVER_ID": "7",
            "KAMAILIO_RPC_SOCKET": "/tmp/rpc.sock",
            "KAMAILIO_RPC_LISTEN": "[::1]",
            "KAMAILIO_RPC_PORT": "5098",
            "KAMAILIO_RPC_CLIENTS": "[::1]",
            "KAMAILIO_LISTEN_ADDRESS": "127.0.0.2",
            "KAMAILIO_LISTEN_PORT": "5070",
            "KAMAILIO_LISTEN_ADDRESS6": "[::1]",
            "KAMAILIO_SUBSCRIBER_TABLE": "directory_subscriber",
            "KAMAILIO_CHILDREN": "3",
            "KAMAILIO_MIN_EXPIRES": "1",
            "KAMAILIO_MAX_EXPIRES": "7200",
            "KAMAILIO_MAX_CONTACTS": "10",
            "KAMAILIO_DMQ_PEER": "127.0.0.3:5070,[::1]:5071",
        },
    ):
        result = check(CONFIGURATION, KAMAILIO_DB_URL=url, **environment)
        assert result.returncode == 0, result.stderr


def test_kamailio_names_the_value_that_is_missing() -> None:
    """Without the database's URL Kamailio does not start, and its error names the variable."""
    result = check(CONFIGURATION)
    assert result.returncode != 0
    assert "KAMAILIO_DB_URL" in result.stderr


def test_every_variable_is_in_the_table_of_its_file() -> None:
    """The table at the top of each file lists exactly the variables that the file reads."""
    for name in ("registrations.cfg", "kamailio.cfg"):
        text = (CONFIGURATION.parent / name).read_text(encoding="utf-8")
        read = set(re.findall(r"^#!(?:try)?defenvs? (\w+)", text, re.MULTILINE))
        documented = set(re.findall(r"^# (KAMAILIO_\w+) +(?:text|number|bare) ", text, re.MULTILINE))
        assert read == documented


@pytest.mark.parametrize("db_mode", [1, 2, 3])
@pytest.mark.parametrize("transport", ["udp", "tcp", "ws"])
def test_a_phone_registers_and_its_row_is_written(
    start_kamailio: StartKamailio, add_device: AddDevice, database: psycopg.Connection, db_mode: int, transport: str
) -> None:
    """In every mode and over every transport, and the row has the real source."""
    proxy = start_kamailio(db_mode=db_mode)
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip, transport=transport) as phone:  # type: ignore[arg-type]
        assert phone.register().ok
        wait_until(lambda: database.execute("select 1 from location").fetchone(), 10, "the row")
        row = database.execute(
            "select username, domain, contact, received, socket, server_id, expires - last_modified from location"
        ).fetchone()
        (host, port), contact = phone.local, phone.contact
    source = f"sip:{host}:{port}" + ("" if transport == "udp" else f";transport={transport}")
    socket = f"{'udp' if transport == 'udp' else 'tcp'}:127.0.0.1:{proxy.sip_port}"
    assert row == ("alice", "example.com", contact, source, socket, 1, 300)


def test_ipv6_phones_are_served_too(start_kamailio: StartKamailio, add_device: AddDevice) -> None:
    """With an IPv6 address the proxy serves it on the same port."""
    proxy = start_kamailio(sip_host6="::1")
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=("::1", proxy.sip_port)) as phone, proxy.rpc() as client:
        assert phone.register().ok
        (contact,) = contacts(client, "alice@example.com")
        assert contact["Received"] == f"sip:[::1]:{phone.local[1]}"


def test_only_one_s_own_address_can_be_registered(proxy: Proxy, add_device: AddDevice) -> None:
    """A wrong password is challenged again; right credentials for another AoR get 403; case does not matter."""
    add_device("alice")
    add_device("sp ace")
    for username, password, auth_username, status in (
        ("alice", "wrong", "alice", 401),
        ("nobody", "secret", "nobody", 401),
        ("sp ace", "secret", "alice", 403),
        ("ALICE", "secret", "alice", 200),
        ("sp ace", "secret", "sp ace", 200),
    ):
        with Phone(username, "example.com", password, proxy=proxy.sip, auth_username=auth_username) as phone:
            assert phone.register().status == status


def test_an_address_without_a_user_is_refused(proxy: Proxy) -> None:
    """usrloc would store it but never find it again, so the phone gets a 400."""
    with Phone("", "example.com", "secret", proxy=proxy.sip, from_uri="sip:alice@example.com") as phone:
        phone.aor = "sip:example.com"
        response = phone.register()
    assert response.status == 400
    assert "To without a user" in response.start_line


def test_a_nonce_that_is_not_this_kamailios_is_challenged(proxy: Proxy, add_device: AddDevice) -> None:
    """The nonce is of a Kamailio that ran until this second. The phone gets another one and registers."""
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip) as phone:
        assert phone.register().ok
        assert phone._challenge is not None
        name, challenge = phone._challenge
        nonce = challenge["nonce"]
        last = "A" if nonce[-2] != "A" else "B"
        phone._challenge = name, {**challenge, "nonce": f"{nonce[:-2]}{last}{nonce[-1]}"}
        assert phone.register().ok


def test_without_postgresql_a_phone_is_told_so_and_not_challenged(
    proxy: Proxy, add_device: AddDevice, postgres: Cluster
) -> None:
    """The answer is 503, not a 401 that asks for another password. Afterwards the phone registers."""
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip) as phone:
        assert phone.register().ok
        postgres.stop()
        try:
            assert phone.register().status == 503
        finally:
            postgres.start()
        assert phone.register().ok


REFUSED = {
    "another method": '{"jsonrpc":"2.0","id":1,"method":"ul.dump"}',
    "a prefix": '{"jsonrpc":"2.0","id":1,"method":"core.versions"}',
    "key before": '{"jsonrpc":"2.0","id":1,"Method":"ul.dump","method":"core.version"}',
    "escaped key before": '{"jsonrpc":"2.0","id":1,"m\\u0065thod":"ul.dump","method":"core.version"}',
    "params before": '{"jsonrpc":"2.0","params":["\\"method\\":\\"core.version\\""],"method":"ul.dump"}',
    "in the id": '{"jsonrpc":"2.0","id":"\\",\\"method\\":\\"core.version\\"","method":"ul.dump"}',
    "on a second line": '{"jsonrpc":"2.0","x":"\n{\\"method\\":\\"core.version\\",","method":"ul.dump"}',
    "batch": '[{"jsonrpc":"2.0","id":1,"method":"core.version"}]',
    "nothing": "",
}


CALL = '{"jsonrpc": "2.0", "id": 1, "method": "tm.t_uac_start", "params": '
FORGED_NOTIFIES: dict[str, Callable[[str], str]] = {
    "another method": lambda body: body.replace('"NOTIFY"', '"MESSAGE"'),
    "another case": lambda body: body.replace('"NOTIFY"', '"notify"'),
    "a method that goes on": lambda body: body.replace('"NOTIFY"', '"NOTIFY\\r\\nX: 1"'),
    "another event": lambda body: body.replace("check-sync;reboot=true", "talk"),
    "a parameter of the event": lambda body: body.replace("reboot=true", "reboot=true;x=1"),
    "a body": lambda body: body.replace('"]}', 'Content-Type: text/plain\\r\\n", "hello"]}'),
    "a body without type": lambda body: body.replace('"]}', '", "hello"]}'),
    "a header more": lambda body: body.replace("Event: ", "X: 1\\r\\nEvent: "),
    "a header in another": lambda body: body.replace("Contact: <", "Contact: <sip:x>\\r\\nX: <"),
    "the same, escaped": lambda body: body.replace("Contact: <", "Contact: <sip:x>\\u000d\\u000aX: <"),
    "a bare line feed": lambda body: body.replace("Contact: <", "Contact: <sip:x>\\nX: <"),
    "a line feed as it is": lambda body: body.replace("Contact: <", "Contact: <sip:x>\nX: <"),
    "a second request": lambda body: body.replace("Event: ", "\\r\\nMESSAGE sip:x SIP/2.0\\r\\nEvent: "),
    "a header left out": lambda body: body.replace("Subscription-State: terminated\\r\\n", ""),
    "a mark of tm's": lambda body: body.replace("Contact: <sip:", "Contact: <sip:!!"),
    "a bracket in the URI": lambda body: re.sub(r'(, "sip:[^"]*)', r"\1;x=>", body, count=1),
    "a bracket in the next hop": lambda body: body.replace('", ".",', ';x=>", ".",', 1),
    "a line in the next hop": lambda body: body.replace('".",', '".\\r\\nX: 1",', 1),
    "no spaces": lambda body: body.replace(", ", ",").replace(": ", ":"),
    "params before": lambda body: body.replace('"method"', '"params": ["MESSAGE"], "method"'),
    "params in another case": lambda body: body.replace('"method"', '"Params": ["MESSAGE"], "method"'),
    "params twice": lambda body: body.replace('"params"', '"params": ["MESSAGE"], "params"'),
    "a key after": lambda body: body.replace('"]}', '"], "params": ["MESSAGE"]}'),
    "an object": lambda body: body.replace("[", '{"a": ').replace("]", "}"),
    "the path of its answer": lambda body: body.replace('"]}', '"], "store_path": "/tmp/x"}'),
}


@pytest.mark.parametrize("forged", FORGED_NOTIFIES.values(), ids=FORGED_NOTIFIES.keys())
def test_of_sip_requests_only_our_notify_is_sent(proxy: Proxy, forged: Callable[[str], str]) -> None:
    """Over HTTP nobody can send another method, header, body or event."""
    with Phone("bob", "example.com", "secret", proxy=proxy.sip) as phone:
        target = Target(username="bob", domain="example.com", contact=phone.contact, source=phone.contact)
        call = notify(target, event="check-sync;reboot=true")
        body = f"{CALL}{json.dumps(call.params)}}}"
        assert forged(body) != body
        assert post(proxy.rpc_port, forged(body))[0] == 403
        assert post(proxy.rpc_port, body)[0] == 200
        phone.wait_for_request("NOTIFY")
        assert len(phone.received) == 1


def test_no_pattern_is_sought_more_than_once() -> None:
    """An unanchored search takes quadratic time, and strangers choose the length."""
    text = CONFIGURATION.with_name("registrations.cfg").read_text(encoding="utf-8")
    patterns = re.findall(r"=~ *(.)(.*?)\1", text)
    assert len(patterns) >= 6
    assert [pattern for _, pattern in patterns if not pattern.startswith("^")] == []


@pytest.mark.parametrize("params", ["[]", '["another"]', '["registrations_loaded", "another"]'])
def test_only_our_own_shared_variables_are_told(proxy: Proxy, params: str) -> None:
    """The operator's variables may contain anything."""
    body = f'{{"jsonrpc": "2.0", "id": 1, "method": "pv.shvGet", "params": {params}}}'
    assert post(proxy.rpc_port, body)[0] == 403


FETCH = '{"jsonrpc": "2.0", "id": 1, "method": "mqueue.fetch", "params": ["registrations"]}'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('["registrations"]', '["another"]'),
        ('["registrations"]', "[]"),
        ('["registrations"]', '["registrations", "another"]'),
        ('["registrations"]', '["registrations"], "params": ["another"]'),
        ('"id": 1', '"id": 1, "params": ["another"]'),
        ("mqueue.fetch", "mqueue.get_sizes"),
        (": ", ":"),
    ],
)
def test_only_our_own_queue_is_emptied(proxy: Proxy, old: str, new: str) -> None:
    """The operator may have queues of his own."""
    status, answer = post(proxy.rpc_port, FETCH)
    assert (status, json.loads(answer)["error"]["message"]) == (404, "Empty queue")
    assert post(proxy.rpc_port, FETCH.replace(old, new))[0] == 403


@pytest.mark.parametrize("path", ["/", "/rpc", "/RPC/", "/RPC?x"])
def test_a_wrong_path_does_not_say_that_a_binding_is_gone(proxy: Proxy, path: str) -> None:
    """It is not 404, because a 404 confirms a flush."""
    status, answer = post(proxy.rpc_port, FETCH, path=path)
    error = json.loads(answer)["error"]
    assert (status, error) == (405, {"code": 405, "message": "POST to /RPC"})


@pytest.mark.parametrize("call_id_known", [True, False])
def test_a_binding_is_removed_while_it_is_that_of_the_same_call_id(
    proxy: Proxy, add_device: AddDevice, database: psycopg.Connection, *, call_id_known: bool
) -> None:
    """A restarted phone has another Call-ID, perhaps with the same CSeq in the same second. Empty matches any."""
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip) as phone:
        assert phone.register().ok
        (row,) = database.execute("select ruid, last_modified, cseq, callid from location").fetchall()
        ruid, second, cseq, call_id = row
        for cseq_sent, call_id_sent, status in (
            (cseq, f"{call_id}x", 409),
            (cseq + 1, "", 409),
            (cseq + 1, call_id, 409),
            (-1, "", 409),
            (cseq, call_id if call_id_known else "", 200),
            (cseq, call_id, 404),
        ):
            texts = (b"sip:alice@example.com".hex(), ruid.encode().hex(), second, cseq_sent)
            params = "|".join(("", *map(str, texts), call_id_sent.encode().hex(), ""))
            body = f'{{"jsonrpc": "2.0", "id": 1, "method": "registrations.rm", "params": ["{params}"]}}'
            assert post(proxy.rpc_port, body)[0] == status
    assert database.execute("select count(*) from location").fetchone() == (0,)


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_only_methods_on_the_list_are_served(proxy: Proxy, body: str) -> None:
    """Over HTTP no other method is served, however it is spelled. The refusal is JSON-RPC."""
    status, answer = post(proxy.rpc_port, body)
    assert status == 403
    assert json.loads(answer)["error"]["code"] == 403


def test_a_later_method_counts_for_nothing(proxy: Proxy) -> None:
    """Kamailio executes the method that was checked, not one that follows it."""
    status, answer = post(proxy.rpc_port, '{"jsonrpc":"2.0","id":1,"method":"core.version","method":"ul.dump"}')
    assert status == 200
    assert json.loads(answer)["result"].startswith("kamailio")


def test_a_browser_is_refused(proxy: Proxy) -> None:
    """A web page open on the proxy's machine cannot make its browser call Kamailio."""
    body = '{"jsonrpc":"2.0","id":1,"method":"core.version"}'
    assert post(proxy.rpc_port, body, Origin="http://evil.example")[0] == 403


def test_strangers_are_refused(start_kamailio: StartKamailio) -> None:
    """A client outside KAMAILIO_RPC_CLIENTS is refused, although it can reach the port."""
    proxy = start_kamailio(environment={"KAMAILIO_RPC_CLIENTS": "127.0.0.1"})
    body = '{"jsonrpc":"2.0","id":1,"method":"core.version"}'
    assert post(proxy.rpc_port, body)[0] == 200
    assert post(proxy.rpc_port, body, source="127.0.0.2")[0] == 403


def test_the_sip_port_serves_no_rpc(proxy: Proxy) -> None:
    """A port that phones can reach does not serve JSON-RPC."""
    assert post(proxy.sip_port, '{"jsonrpc":"2.0","id":1,"method":"core.version"}')[0] == 404


def test_the_stock_configuration_takes_registrations_cfg(
    start_kamailio: StartKamailio,
    add_device: AddDevice,
    database: psycopg.Connection,
    database_url: str,
    tmp_path: Path,
) -> None:
    """With the edits on Debian's kamailio.cfg phones register, rows are right and JSON-RPC is served."""
    configuration = stock_configuration(tmp_path, database_url)
    proxy = start_kamailio(configuration=configuration)
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip) as phone, proxy.rpc(socket=True) as client:
        assert phone.register().ok
        (contact,) = contacts(client, "alice@example.com")
        assert (contact["Address"], contact["Received"]) == (phone.contact, "[not set]")
        assert usrloc.rm_many(client, ["alice@example.com"], budget=5) == [None]
    assert contact["Server-Id"] == 1
    assert database.execute("select count(*) from location").fetchone() == (0,)


def test_without_an_address_for_rpc_no_listen_line_is_added(tmp_path: Path) -> None:
    """Without listen= lines Kamailio finds its addresses by itself; a single one of ours would end that."""
    configuration = stock_configuration(tmp_path, "postgres://kamailio@127.0.0.1/kamailio")
    site = tmp_path / "kamailio-local.cfg"
    kept = [line for line in SITE.splitlines() if "listen=" not in line and "RPC_LISTEN" not in line]
    site.write_text("\n".join([*kept, "#!define WITH_MULTIDOMAIN", "#!define WITH_ANTIFLOOD", ""]), encoding="utf-8")
    result = check(configuration)
    assert result.returncode == 0, result.stderr
    assert "registrations_rpc" not in result.stdout + result.stderr


def test_http_on_another_port_fares_as_without_us(tmp_path: Path) -> None:
    """A proxy without xhttp still does not answer HTTP on its own ports."""
    bare = tmp_path / "bare.cfg"
    port, rpc_port = free_port(), free_port()
    bare.write_text(BARE.format(port=port), encoding="utf-8")
    with_ours = tmp_path / "with.cfg"
    with_ours.write_text(
        f"{bare.read_text(encoding='utf-8')}#!define KAMAILIO_DB_MODE 0\n#!define KAMAILIO_RPC_LISTEN 127.0.0.1\n"
        f'#!define KAMAILIO_RPC_PORT {rpc_port}\ninclude_file "{CONFIGURATION.parent}/registrations.cfg"\n',
        encoding="utf-8",
    )
    answers = []
    for configuration in (bare, with_ours):
        command: list[str | Path] = ["kamailio", "-DD", "-E", "-f", configuration, "-Y", tmp_path, "-w", tmp_path]
        with daemon(command, log=configuration.with_suffix(".log"), ready=lambda: port_taken("127.0.0.1", port)):
            answers.append([sent_to(port, request) for request in HTTP_REQUESTS])
            if configuration == with_ours:
                assert post(rpc_port, FETCH)[0] == 404
    assert answers[0] == answers[1]


def test_nothing_is_left_behind(start_kamailio: StartKamailio) -> None:
    """A stopped proxy leaves no process at its ports."""
    proxy = start_kamailio()
    assert port_taken("127.0.0.1", proxy.sip_port)
    proxy.stop()
    assert not port_taken("127.0.0.1", proxy.sip_port)
    assert not proxy.is_running


def post(port: int, body: str, *, source: str = "127.0.0.1", path: str = "/RPC", **headers: str) -> tuple[int, bytes]:
    """POST raw bytes to a path, as a client other than ours might."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5, source_address=(source, 0))
    try:
        connection.request("POST", path, body.encode(), headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
