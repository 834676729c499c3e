"""A silent node: one caller waits for it, the others do not."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

from kamailio.errors import KamailioUnreachable
from kamailio.nodes import Nodes
from kamailio.rpc import JsonRpcClient
from kamailio.settings import KamailioSettings
from kamailio.survey import uptime as ask_uptime
from tests.fixtures.kamailio import StartKamailio


def test_while_one_caller_waits_for_a_silent_node_the_others_do_not(start_kamailio: StartKamailio) -> None:
    """The others fail at once. The first gets his answer when it arrives, and then all get one."""
    registrar = start_kamailio()
    nodes = Nodes(KamailioSettings(kamailio_rpc=registrar.rpc_url, kamailio_timeout=5))

    def uptime(_: int, client: JsonRpcClient) -> object:
        return ask_uptime(client)

    waits = threading.Event()

    def wait(_: int, client: JsonRpcClient) -> object:
        waits.set()
        return ask_uptime(client)

    with ThreadPoolExecutor(1) as thread:
        os.killpg(registrar.pid, signal.SIGSTOP)
        try:
            found_out = nodes.on_each(nodes.ids, uptime, timeout=0.5)[0]
            waiting = thread.submit(nodes.on_each, nodes.ids, wait)
            assert waits.wait(10)
            others = [nodes.on_each(nodes.ids, uptime)[0] for _ in range(3)]
            assert nodes.mode(0) is None
            assert not waiting.done()
        finally:
            os.killpg(registrar.pid, signal.SIGCONT)
        answer = waiting.result()[0]
    assert {type(error) for error in (found_out, *others)} == {KamailioUnreachable}
    assert not isinstance(answer, KamailioUnreachable)
    assert not isinstance(nodes.on_each(nodes.ids, uptime)[0], KamailioUnreachable)
    assert nodes.mode(0) in {1, 2, 3}
