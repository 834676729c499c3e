"""What arbiter and worker see to by themselves: the end of the server, and headers that mean nothing here."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from gunicorn.config import Config

from api.server.arbiter import keep_newcomers_out
from api.server.worker import EnvelopeWorker
from tests.fixtures.server import HOST, StartServer
from tests.stand.process import wait_until
from tests.stand.raw_http import exchange

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
# A packet filter of one instruction, "take no byte of it", for a client that hears nothing.
DEAF = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))


class _ToldToStopMeanwhile(EnvelopeWorker):
    """SIGTERM comes while the worker looks whether its arbiter lives."""

    @property
    def ppid(self) -> int:
        signal.raise_signal(signal.SIGTERM)
        return os.getppid()

    @ppid.setter
    def ppid(self, _: int) -> None:
        pass


@pytest.fixture
def worker() -> Iterator[EnvelopeWorker]:
    made = _ToldToStopMeanwhile(1, os.getppid(), [], None, 30, Config(), logging.getLogger("test"))
    made.method_queue.init()
    before = signal.signal(signal.SIGTERM, made.handle_exit)
    yield made
    signal.signal(signal.SIGTERM, before)
    made.method_queue.close()
    made.tmp.close()


def test_a_worker_never_misses_that_it_is_to_stop(worker: EnvelopeWorker) -> None:
    """Else it goes on and keeps the listener open, so that newcomers get no answer until the arbiter kills it."""
    assert not worker.is_parent_alive()
    assert not worker.alive


def _is_half_open(listener: socket.socket) -> bool:
    """Whether the kernel has answered somebody's SYN and waits for the ACK (SYN_RECV, 03)."""
    port = f":{listener.getsockname()[1]:04X} "
    connections = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()
    return any(port in line[:20] and line.split()[3] == "03" for line in connections)


def test_a_handshake_that_began_before_the_stop_is_finished() -> None:
    """Who comes later is kept out, and refused once the listener is closed; nobody is reset."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((HOST, 0)))
        listener.settimeout(20)
        early, late = stack.enter_context(socket.socket()), stack.enter_context(socket.socket())
        for client in (early, late):
            client.setblocking(False)
        deaf = struct.pack("HP", 1, ctypes.addressof(DEAF))
        early.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, deaf)
        assert early.connect_ex(listener.getsockname())
        wait_until(lambda: _is_half_open(listener), 10, "the first half of the handshake")
        keep_newcomers_out(listener)
        early.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
        assert late.connect_ex(listener.getsockname())
        connection, address = listener.accept()
        with connection:
            assert address == early.getsockname()
            connection.sendall(b"welcome")
            early.settimeout(20)
            assert early.recv(7) == b"welcome"
        listener.close()
        became = partial(late.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR)
        wait_until(lambda: became() == errno.ECONNREFUSED, 20, "the refusal")


LIVE = b"GET %b HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n%b\r\n"


def test_script_name_of_a_client_means_nothing(start_server: StartServer) -> None:
    """HAProxy passes it on. gunicorn would take it off the path, and answer 500 where the path has it not."""
    port = start_server().port
    for header in (b"SCRIPT_NAME: /x\r\n", b"Script_Name: /x\r\n", b"SCRIPT_NAME: /live\r\n", b"PATH_INFO: /x\r\n"):
        assert exchange(port, LIVE % (b"/live", header)).status == 200
        assert exchange(port, LIVE % (b"/x/live", header)).status == 404


def test_proxies_may_disagree_about_the_scheme(start_server: StartServer) -> None:
    """The outer one speaks TLS, the inner one does not; nothing here depends on it."""
    both = b"X-Forwarded-Proto: https\r\nX-Forwarded-Protocol: https\r\n"
    port = start_server().port
    for headers in (both, both + b"X-Forwarded-Ssl: off\r\n", b"X-Forwarded-Ssl: on\r\nX-Forwarded-Proto: http\r\n"):
        assert exchange(port, LIVE % (b"/live", headers)).status == 200
