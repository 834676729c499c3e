"""The transports of JSON-RPC: the promises of each."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic

import pytest

from kamailio import usrloc
from kamailio.errors import KamailioUnreachable, NotCarried, RpcError, RpcProtocolError
from kamailio.rpc import Call, JsonRpcClient
from kamailio.survey import survey
from kamailio.transports.base import Request
from kamailio.transports.by_url import transport_for
from kamailio.transports.datagram import DatagramTransport
from kamailio.transports.fifo import FifoTransport
from kamailio.transports.http import LOOPBACK_SOURCE, HttpTransport
from kamailio.transports.kamctl import KamctlTransport
from tests.fixtures.kamailio import StartKamailio
from tests.kamailio.test_rpc import NO_ANSWERS
from tests.stand.kamailio import Proxy
from tests.stand.process import wait_until
from tests.stand.sip import host_port

# As in the column username. A shell, kamctl and printf(1) would each change some of them.
ODD_USERS = [
    "$HOME",
    "`id`",
    "o'neil",
    "a b",
    "*;&|(!~)",
    "-n",
    "5",
    "i:5",
    "s:x",
    "=CRLF=",
    "{}",
    "}",
    "ü",
]
# Names that kamctl would change.
BREAKING_USERS = ['"', "\\", '\\"', "x\\", "%s%n", "100%", "a\tb"]


def _add(client: JsonRpcClient, user: str) -> str:
    """Add a binding of such a user to Kamailio, and return its AoR."""
    aor = usrloc.aor(user, "example.com")
    client.call("ul.add", "location", aor, "sip:x@127.0.0.1:9", 300, "1.0", "", 0, 0, 0)
    return aor


def test_rm_and_lookup_of_several_aors_at_once(reached: Proxy, rpc_url: str) -> None:
    """Each AoR is found and removed over every transport, and another one stays."""
    with reached.rpc(socket=True) as witness, reached.rpc(url=rpc_url) as client:
        aors = [_add(witness, f"user-{number}") for number in range(20)]
        found = usrloc.lookup_many(client, [*aors, "nobody@example.com"], budget=30)
        assert [len(contacts) for contacts in found if not isinstance(contacts, RpcError)] == [1] * 20 + [0]
        assert usrloc.rm_many(client, ["no-domain", *aors[:-1]], budget=30)[1:] == [None] * 19
        found = usrloc.lookup_many(witness, aors, budget=30)
        assert [len(contacts) for contacts in found if not isinstance(contacts, RpcError)] == [0] * 19 + [1]


def test_odd_usernames_are_meant_to_the_byte(reached: Proxy, rpc_url: str, way: str) -> None:
    """A binding of any username is found and removed. kamctl refuses names that it would change."""
    users = [*ODD_USERS, *([] if way == "kamctl" else BREAKING_USERS)]
    with reached.rpc(socket=True) as witness, reached.rpc(url=rpc_url) as client:
        aors = [_add(witness, user) for user in users]
        assert [len(usrloc.lookup(client, aor)) for aor in aors] == [1] * len(users)
        assert usrloc.rm_many(client, aors, budget=30) == [None] * len(users)
        assert [usrloc.lookup(witness, aor) for aor in aors] == [()] * len(users)


@pytest.mark.parametrize("way", ["unix", "udp", "fifo", "kamctl"])
def test_text_and_numbers_arrive_as_they_are(reached: Proxy, rpc_url: str, way: str) -> None:
    """Kamailio echoes the same text, with line ends and empty. kamctl refuses line ends in the first argument."""
    words: list[object] = ["1", *ODD_USERS, "", "A: 1\r\nB: 2\r\n", "\r\n", 5]
    if way != "kamctl":
        words += BREAKING_USERS
    else:
        words.remove("=CRLF=")
    with reached.rpc(url=rpc_url) as client:
        assert client.call("core.echo", *words) == [str(word) for word in words]
        for word in words:  # one at a time: of two errors one may hide the other
            assert client.call("core.echo", "1", word) == ["1", str(word)]


@pytest.mark.parametrize("way", ["kamctl"])
@pytest.mark.parametrize(
    "params",
    [
        *([word] for word in BREAKING_USERS),
        ["\r\n"],
        ["1", "\r\n", "=CRLF="],
        ["1", "\n"],
        ["\0"],
        [1.5],
        [None],
        [True],
    ],
)
def test_kamctl_refuses_what_it_would_break(reached: Proxy, rpc_url: str, params: list[object], tmp_path: Path) -> None:
    """The refusal names the character, kamctl does not run, and the other calls are made."""
    with reached.rpc(url=rpc_url) as client:
        refused, done = client.call_many([Call("core.echo", tuple(params)), Call("core.version")], budget=5)
        assert isinstance(refused, NotCarried)
        assert (refused.code, refused.method) == (400, "core.echo")
        assert rpc_url in refused.message
        assert repr(params[-1]) in refused.message
        assert str(done).startswith("kamailio ")
    with JsonRpcClient(transport_for(f"kamctl:{tmp_path}/none")) as client, pytest.raises(NotCarried):
        client.call("core.echo", *params)


@pytest.mark.parametrize(("way", "limit"), [("unix", 65_400), ("udp", 65_400), ("fifo", 4096), ("kamctl", 4096)])
def test_a_request_that_is_too_large_is_refused_by_name(reached: Proxy, rpc_url: str, limit: int) -> None:
    """Up to the limit Kamailio answers. Beyond it the refusal has both sizes, and the next call works."""
    with reached.rpc(url=rpc_url) as client:
        assert client.call("core.version", "x" * (limit - 150))
        with pytest.raises(NotCarried, match=rf"\d+ bytes, of at most {limit}") as caught:
            client.call("core.version", "x" * limit)
        assert rpc_url in str(caught.value)
        assert client.call("core.version")


@pytest.mark.parametrize("way", ["fifo", "kamctl"])
def test_an_answer_larger_than_a_pipe_is_whole(reached: Proxy, rpc_url: str, way: str) -> None:
    """It is the same as by datagram, or larger than a datagram can be."""
    with reached.rpc(socket=True) as witness, reached.rpc(url=rpc_url) as client:
        assert client.call("system.listMethods") == witness.call("system.listMethods")
        for number in range(150):
            witness.call("ul.add", "location", "a@example.com", f"sip:{number}@127.0.0.1:9", 300, "1.0", "", 0, 0, 0)
        assert len(usrloc.lookup(client, "a@example.com")) == 150


@contextmanager
def fake_http_peer(connections: int, asked: list[int]) -> Iterator[str]:
    """A fake: waits for so many requests, then answers the last one first, each with its id.

    Args:
        connections: number of requests.
        asked: gets their ids in the order of arrival.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def serve() -> None:
            with ExitStack() as open_ones:
                asking = [open_ones.enter_context(server.accept()[0]) for _ in range(connections)]
                for one in asking:
                    request = b""
                    while not request.endswith(b"}"):
                        request += one.recv(65536)
                    asked.append(json.loads(request.partition(b"\r\n\r\n")[2])["id"])
                for one, number in zip(reversed(asking), reversed(asked), strict=True):
                    answer = b'{"jsonrpc":"2.0","result":%d,"id":%d}' % (number, number)
                    one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/RPC"
        thread.join()


def test_several_requests_are_under_way_by_http() -> None:
    """As many as the window, each on its own connection. Each gets its result, in whatever order the answers arrive."""
    asked: list[int] = []
    with fake_http_peer(HttpTransport.window, asked) as url, JsonRpcClient(transport_for(url)) as client:
        results = client.call_many([Call("core.version")] * HttpTransport.window, budget=5)
    assert results == asked


def test_an_answer_that_would_fill_the_memory_is_not_read() -> None:
    """Such a server is not Kamailio (fake peer)."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = HttpTransport(f"http://127.0.0.1:{server.getsockname()[1]}/RPC")
        transport.send(Request(1, "core.version", ()), deadline=monotonic() + 5)
        with server.accept()[0] as peer:
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n{")
            with pytest.raises(KamailioUnreachable, match="the answer of 100000000000 bytes is too large"):
                transport.receive(deadline=monotonic() + 1)


@pytest.mark.parametrize(("host", "source"), [("127.0.0.1", LOOPBACK_SOURCE), ("::1", "::1")])
def test_by_http_over_loopback_it_comes_from_an_address_of_its_own(host: str, source: str) -> None:
    """No phone uses that address, so Kamailio cannot confuse the connections. IPv6 has only one loopback address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        transport = HttpTransport(f"http://{host_port(host, server.getsockname()[1])}/RPC")
        transport.send(Request(1, "core.version", ()), deadline=monotonic() + 5)
        connection, peer = server.accept()
        connection.close()
        transport.close()
    assert peer[0] == source


def test_a_machine_without_that_address_asks_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some containers have only 127.0.0.1/32 on their loopback interface."""
    monkeypatch.setattr("kamailio.transports.http.LOOPBACK_SOURCE", "192.0.2.1")  # nobody's (RFC 5737)
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = HttpTransport(f"http://127.0.0.1:{server.getsockname()[1]}/RPC")
        transport.send(Request(1, "core.version", ()), deadline=monotonic() + 5)
        connection, peer = server.accept()
        connection.close()
        transport.close()
    assert peer[0] == "127.0.0.1"


def test_a_kamailio_that_serves_one_address_alone_is_asked_from_there(start_kamailio: StartKamailio) -> None:
    """If KAMAILIO_RPC_CLIENTS is 127.0.0.1, each of several calls at once is executed."""
    proxy = start_kamailio(environment={"KAMAILIO_RPC_CLIENTS": "127.0.0.1"})
    with proxy.rpc() as client, proxy.rpc(socket=True) as witness:
        aors = [_add(witness, f"user-{number}") for number in range(10)]
        assert usrloc.rm_many(client, aors, budget=30) == [None] * 10
        assert usrloc.lookup_many(witness, aors, budget=30) == [()] * 10


@contextmanager
def fake_udp_peer(*answers: bytes, host: str = "127.0.0.1") -> Iterator[str]:
    """A fake: answers each datagram in turn, with its id, then is silent."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((host, 0))

        def serve() -> None:
            for answer in answers:
                request, peer = server.recvfrom(65536)
                server.sendto(answer % json.loads(request)["id"], peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"udp:{host_port(host, server.getsockname()[1])}"
        thread.join()


def test_a_lost_datagram_ends_at_the_deadline() -> None:
    """A fake peer answers one of three calls. The error says so, and nothing is sent twice."""
    with (
        fake_udp_peer(b'{"jsonrpc":"2.0","result":1,"id":%d}') as url,
        JsonRpcClient(transport_for(url)) as client,
        pytest.raises(KamailioUnreachable, match=r"no answer in time \(1 of 3 calls answered\)"),
    ):
        client.call_many([Call("core.version")] * 3, budget=0.3)


def test_an_ipv6_address_stands_in_brackets() -> None:
    """A UDP port on an IPv6 address (fake peer: Kamailio 5.6.3 accepts no such dgram_socket)."""
    answer = b'{"jsonrpc":"2.0","result":1,"id":%d}'
    with fake_udp_peer(answer, host="::1") as url, JsonRpcClient(transport_for(url)) as client:
        assert client.call("core.version") == 1


def test_reply_fifos_lie_where_kamailio_looks_and_are_removed(answering_there: Proxy, reply_directory: Path) -> None:
    """The URL names fifo_reply_dir. No FIFO remains after an answer, a timeout, or the end of a client."""
    proxy = answering_there
    with proxy.rpc(url=f"{proxy.rpc_fifo_url}?reply_dir={reply_directory}/") as client:
        assert client.call("core.version")
        assert list(reply_directory.iterdir()) == []
        os.killpg(proxy.pid, signal.SIGSTOP)
        try:
            with pytest.raises(KamailioUnreachable):
                client.call_many([Call("core.version")], budget=0.2)
        finally:
            os.killpg(proxy.pid, signal.SIGCONT)
        assert list(reply_directory.iterdir()) == []
    transport = transport_for(f"{proxy.rpc_fifo_url}?reply_dir={reply_directory}")
    transport.send(Request(1, "core.version", ()), deadline=monotonic() + 5)
    transport.close()
    assert list(reply_directory.iterdir()) == []


def test_kamctl_reads_its_answers_in_the_directory_that_the_url_names(
    answering_there: Proxy, reply_directory: Path
) -> None:
    """Even in a directory that only Kamailio's group may write to, as the README advises."""
    reply_directory.chmod(0o770)
    with answering_there.rpc(url=f"{answering_there.rpc_kamctl_url}&reply_dir={reply_directory}/") as client:
        assert client.call("core.version")
    assert list(reply_directory.iterdir()) == []


FORGED = {
    "without an id": b'{"jsonrpc":"2.0","error":{"code":404,"message":"AOR not found in location table"}}',
    "id null": b'{"jsonrpc":"2.0","error":{"code":404,"message":"AOR not found in location table"},"id":null}',
    "a guess": b'{"jsonrpc":"2.0","error":{"code":404,"message":"AOR not found in location table"},"id":1}',
    "nothing found": b'{"jsonrpc":"2.0","result":{"AoR":"a@example.com","Contacts":[]},"id":null}',
}
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
@pytest.mark.parametrize("way", ["fifo", "kamctl"])
def test_what_another_user_writes_into_the_reply_fifo_is_no_answer(
    answering_there: Proxy, reply_directory: Path, way: str, forged: bytes
) -> None:
    """He is faster than a frozen Kamailio but cannot know the id, so a binding is not taken for gone."""
    url = answering_there.rpc_fifo_url + "?" if way == "fifo" else answering_there.rpc_kamctl_url + "&"
    script = 'cd "$2" && until set -- "$1" *_* && [ -p "$2" ] && printf %s "$1" >"$2"; do :; done 2>/dev/null'
    with answering_there.rpc(socket=True) as witness:
        aor = _add(witness, "a")
    with answering_there.rpc(url=f"{url}reply_dir={reply_directory}") as client:
        assert len(usrloc.lookup(client, aor)) == 1
        os.killpg(answering_there.pid, signal.SIGSTOP)
        with subprocess.Popen([*AS_NOBODY, "timeout", "10", "sh", "-c", script, "forger", forged, reply_directory]):
            try:
                with pytest.raises(RpcProtocolError):
                    usrloc.lookup(client, aor)
            finally:
                os.killpg(answering_there.pid, signal.SIGCONT)


def test_an_answer_to_the_next_id_is_none(tmp_path: Path) -> None:
    """An id cannot be guessed from the earlier ones (fake peer)."""
    path = tmp_path / "rpc"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server,
        JsonRpcClient(transport_for(f"unix:{path}")) as client,
    ):
        server.bind(str(path))

        def answer(first: int = 0) -> int:
            request, peer = server.recvfrom(65536)
            number: int = first or json.loads(request)["id"]
            server.sendto(b'{"jsonrpc":"2.0","result":1,"id":%d}' % number, peer)
            return number

        with ThreadPoolExecutor(1) as other:
            seen = other.submit(answer)
            assert client.call("core.version") == 1
            other.submit(answer, seen.result() + 1)
            with pytest.raises(RpcProtocolError, match="none of ours"):
                client.call("core.version")


def test_a_directory_where_others_may_replace_the_reply_fifo_is_refused(
    answering_there: Proxy, reply_directory: Path
) -> None:
    """Without a sticky bit anybody could read the answer and forge another with its id."""
    reply_directory.chmod(0o777)
    with (
        answering_there.rpc(url=f"{answering_there.rpc_fifo_url}?reply_dir={reply_directory}") as client,
        pytest.raises(KamailioUnreachable, match="has no sticky bit"),
    ):
        client.call("core.version")
    assert list(reply_directory.iterdir()) == []


@pytest.mark.parametrize("way", ["http", "unix", "udp", "fifo"])
def test_kamailio_logs_no_error_for_calls_of_several_clients(reached: Proxy, rpc_url: str) -> None:
    """Its workers do not compete for a request, and we call no unknown command."""

    def ask(name: str) -> None:
        aors = [f"{name}-{number}@example.com" for number in range(300)]
        with reached.rpc(url=rpc_url) as client:
            for _ in range(1000):
                client.call("core.version")
            usrloc.lookup_many(client, aors, budget=60)
            usrloc.rm_many(client, aors, budget=60)
            survey(client)

    with ThreadPoolExecutor(4) as clients:
        list(clients.map(ask, "abcd"))
    assert [line for line in reached.log.splitlines() if re.search("ERROR|CRITICAL", line)] == []


def test_a_killed_kamctl_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the deadline kamctl and its children are killed, and its reply FIFO is removed."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("CHROOT_DIR", str(tmp_path))  # in whose /tmp kamctl makes it
    fifo = tmp_path / "without-reader"
    os.mkfifo(fifo)
    transport = transport_for(f"kamctl:?fifo={fifo}")
    transport.send(Request(1, "core.version", ()), deadline=monotonic() + 5)
    wait_until(lambda: list((tmp_path / "tmp").iterdir()), 5, "kamctl's reply FIFO")
    assert _with_in_environment(fifo)
    with pytest.raises(KamailioUnreachable, match="no answer in time"):
        transport.receive(deadline=monotonic() + 0.1)
    assert list((tmp_path / "tmp").iterdir()) == []
    wait_until(lambda: not _with_in_environment(fifo), 5, "kamctl's children to end")


def _with_in_environment(text: Path) -> list[Path]:
    """Return the processes that have it in a variable."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if bytes(text) in (process / "environ").read_bytes():
                found.append(process)
    return found


def test_a_fifo_that_nobody_reads_keeps_nobody_waiting(tmp_path: Path, reply_directory: Path) -> None:
    """The error tells whether nobody reads it, the reader is stuck, or it is not a FIFO."""
    path = tmp_path / "fifo"
    url = f"fifo:{path}?reply_dir={reply_directory}"
    with JsonRpcClient(transport_for(url), timeout=0.2) as client:
        path.write_bytes(b"")
        with pytest.raises(KamailioUnreachable, match="not a FIFO"):
            client.call("core.version")
        assert path.read_bytes() == b""
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(KamailioUnreachable, match="no Kamailio reads it"):
            client.call("core.version")
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        with suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        with pytest.raises(KamailioUnreachable, match="no answer in time"):
            client.call("core.version")
        os.close(reader)
        os.close(writer)
    assert list(reply_directory.iterdir()) == []


@contextmanager
def fake_fifo_peer(directory: Path, answer: bytes, seen: list[int] | None = None) -> Iterator[str]:
    """A fake: sends `answer` to the first request, and notes the mode of the reply FIFO."""
    path = directory / "fifo"
    os.mkfifo(path)
    requests = os.fdopen(os.open(path, os.O_RDWR), "rb")  # does not block

    def serve() -> None:
        with requests:
            reply = directory / json.loads(requests.readline())["reply_name"]
        if seen is not None:
            seen.append(reply.stat().st_mode)
        reply.write_bytes(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"fifo:{path}?reply_dir={directory}"
    thread.join()


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
def test_what_is_no_answer_of_ours_is_a_protocol_error(tmp_path: Path, answer: bytes) -> None:
    """As with the other transports: without our id it is no success (fake peer)."""
    with (
        fake_fifo_peer(tmp_path, answer) as url,
        JsonRpcClient(transport_for(url)) as client,
        pytest.raises(RpcProtocolError),
    ):
        client.call("core.version")


def test_kamailio_may_write_the_answer_whatever_user_it_runs_as(tmp_path: Path) -> None:
    """Everybody may write to the reply FIFO, only we may read. An end without an answer is an error."""
    seen: list[int] = []
    with (
        fake_fifo_peer(tmp_path, b"", seen) as url,
        JsonRpcClient(transport_for(url)) as client,
        pytest.raises(KamailioUnreachable, match="without an answer"),
    ):
        client.call("core.version")
    assert [stat.S_IMODE(mode) for mode in seen] == [0o622]


@pytest.mark.parametrize("way", ["fifo"])
def test_clients_that_share_the_fifo_have_their_own_answers(reached: Proxy, rpc_url: str) -> None:
    """Threads and kamctl write into it at once. Each gets its own answer, and no request is mixed up."""
    wrong: list[object] = []

    def ask(url: str, word: str, times: int) -> None:
        expected = [word * 3000 if url == rpc_url else word]
        with reached.rpc(url=url) as client:
            answers = client.call_many([Call("core.echo", tuple(expected))] * times, budget=30)
            wrong.extend(answer for answer in answers if answer != expected)

    asking = [threading.Thread(target=ask, args=(rpc_url, word, 200)) for word in "abc"]
    asking.append(threading.Thread(target=ask, args=(reached.rpc_kamctl_url, "d", 10)))
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert wrong == []


def fake_kamctl(directory: Path, script: str) -> str:
    """A fake: a script in place of kamctl. Returns the URL."""
    command = directory / "kamctl"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    return f"kamctl:{command}"


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ("echo 'ERROR: no FIFO' >&2; exit 2", KamailioUnreachable, "status 2: ERROR: no FIFO"),
        ("exit 0", KamailioUnreachable, "status 0"),
        ("sleep 60", KamailioUnreachable, "no answer in time"),
        ("""echo '{"jsonrpc":"2.0","result":{}}'""", RpcProtocolError, "no JSON-RPC"),
        ("echo usage", RpcProtocolError, "no JSON"),
        ("""echo '{"jsonrpc":"2.0","error":{"code":500,"message":"x"},"id":'$$}""", RpcError, "500 x"),
        ("""echo '{"jsonrpc":"2.0","error":{"code":500,"message":"x"},"id":1}'""", RpcProtocolError, "none of ours"),
    ],
)
def test_what_kamctl_prints_is_read(tmp_path: Path, script: str, error: type[Exception], message: str) -> None:
    """Its exit status is not reliable: a printed error is an error, and so is any other output (fake kamctl)."""
    with (
        JsonRpcClient(transport_for(fake_kamctl(tmp_path, script)), timeout=0.5) as client,
        pytest.raises(error, match=message),
    ):
        client.call("core.version")


def test_a_missing_kamctl_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says that it is missing, with or without a path in the URL."""
    with JsonRpcClient(transport_for(f"kamctl:{tmp_path}/none")) as client, pytest.raises(KamailioUnreachable):
        client.call("core.version")


@pytest.mark.parametrize(
    ("url", "transport"),
    [
        ("http://127.0.0.1:5097/RPC", HttpTransport),
        ("http://[::1]:5097/RPC", HttpTransport),
        ("unix:/run/kamailio/kamailio_rpc.sock", DatagramTransport),
        ("udp:127.0.0.1:5098", DatagramTransport),
        ("udp:[::1]:5098", DatagramTransport),
        ("fifo:/run/kamailio/kamailio_rpc.fifo", FifoTransport),
        ("fifo:/run/kamailio/kamailio_rpc.fifo?reply_dir=/run/kamailio/replies/", FifoTransport),
        ("kamctl:", KamctlTransport),
        ("kamctl:/usr/sbin/kamctl", KamctlTransport),
        ("kamctl:?fifo=/run/kamailio/kamailio_rpc.fifo", KamctlTransport),
        ("kamctl:?reply_dir=/run/kamailio-replies/tmp/", KamctlTransport),
    ],
)
def test_a_url_chooses_the_transport(url: str, transport: Callable[[str], object]) -> None:
    """The URL alone chooses the transport, and nothing is connected yet."""
    chosen = transport_for(url)
    assert type(chosen) is transport
    assert chosen.url == url


BAD_URLS = """
    5097 http http://127.0.0.1/RPC http:///RPC https://x:1/RPC tcp:127.0.0.1:5098
    unix unix: unix:rpc.sock unix:/
    udp: udp:127.0.0.1 udp::5098 udp:127.0.0.1:0 udp:127.0.0.1:70000 udp:127.0.0.1:x udp:::1:5098 udp://127.0.0.1:5098
    udp:a@127.0.0.1:5098 udp:127.0.0.1:5098/RPC udp:[::1:5098
    fifo fifo: fifo:/ fifo:rpc.fifo fifo:/x?fifo=/y fifo:/x?reply_dir= fifo:/x?reply_dir=tmp
    kamctl kamctl:kamctl kamctl:?fifo=rpc.fifo kamctl:?reply_dir=/replies kamctl:?reply_dir=tmp
    kamctl:?fifo kamctl:?x=/y
"""


@pytest.mark.parametrize("url", ["", *BAD_URLS.split()])
def test_a_bad_url_is_refused(url: str) -> None:
    """A URL without a transport is refused at once, and the message has the URL."""
    with pytest.raises(ValueError, match=r"http://host:port|unix:/path|udp:host:port|fifo:/path|kamctl:") as caught:
        transport_for(url)
    assert repr(url) in str(caught.value)
