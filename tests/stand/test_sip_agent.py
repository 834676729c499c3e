"""How a user agent handles timeouts, loss and unexpected messages. The peers are scripted."""

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.stand import sip_transport
from tests.stand.phone import NoAnswer, Phone, Request, Response
from tests.stand.process import wait_until
from tests.stand.sip import parse


def test_silence_is_an_error_that_names_the_phone() -> None:
    """If nobody answers by UDP, the error names the phone and the address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with Phone("u", "example.com", "x", proxy=silent.getsockname(), timeout=0.1) as phone:
            with pytest.raises(NoAnswer, match=r"sip:u@example\.com by udp to 127\.0\.0\.1:\d+"):
                phone.register()
            with pytest.raises(TimeoutError, match="no OPTIONS"):
                phone.wait_for_request("OPTIONS", 0)


class Registrar:
    """A scripted UDP peer: calls `answer` with its socket, each REGISTER and where it came from."""

    def __init__(self, answer: Callable[[socket.socket, Request, Any], None]) -> None:
        self.seen: list[Request] = []
        self._answer = answer
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._socket.getsockname()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "Registrar":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.sendto(b"", self.address)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while data := self._socket.recvfrom(65535):
            if not data[0]:
                return
            message = parse(data[0])
            if isinstance(message, Request):
                self.seen.append(message)
                self._answer(self._socket, message, data[1])


def test_lost_datagram_is_sent_again() -> None:
    """A lost REGISTER is sent again unchanged, and a provisional response does not end the transaction."""

    def answer_the_second(out: socket.socket, request: Request, source: Any) -> None:
        if len(registrar.seen) == 2:
            out.sendto(b"not SIP at all", source)
            out.sendto(request.answer(100, "Trying", to_tag="r").encode(), source)
            out.sendto(request.answer(403, "Forbidden", to_tag="r").encode(), source)

    with Registrar(answer_the_second) as registrar, Phone("u", "a", "x", proxy=registrar.address) as phone:
        response = phone.register()

    assert response.status == 403
    first, second = registrar.seen
    assert first.encode() == second.encode()


def test_extra_responses_do_not_bring_the_phone_out_of_step() -> None:
    """A second 500 to one request is counted, and never taken for the answer to the next request."""

    def answer_twice(out: socket.socket, request: Request, source: Any) -> None:
        for reason in (f"First to {request.cseq[0]}", f"Second to {request.cseq[0]}"):
            out.sendto(request.answer(500, reason, to_tag="r").encode(), source)

    with Registrar(answer_twice) as registrar, Phone("u", "a", "x", proxy=registrar.address) as phone:
        reasons = [phone.register().reason for _ in range(5)]
        wait_until(lambda: phone.strays == 5, 5, "the second responses")

    assert reasons == [f"First to {number}" for number in range(1, 6)]


def test_requests_are_answered_once_each_by_method() -> None:
    """INVITE gets 486, an unknown method 405. A retransmission is answered again but kept once."""
    answers: list[Response] = []

    def ask_back(out: socket.socket, request: Request, source: Any) -> None:
        for method in ("INVITE", "INVITE", "ACK", "PUBLISH"):
            head = request.encode().replace(b"REGISTER", method.encode()).replace(b"z9hG4bK", b"z9hG4bKx")
            out.sendto(head, source)
            if method != "ACK":
                answer = parse(out.recv(65535))
                assert isinstance(answer, Response)
                answers.append(answer)
        out.sendto(request.answer(404, "Not Found", to_tag="r").encode(), source)

    with Registrar(ask_back) as registrar, Phone("u", "example.com", "x", proxy=registrar.address) as phone:
        assert phone.register().status == 404

    assert [answer.status for answer in answers] == [486, 486, 405]
    assert [each.method for each in phone.received] == ["INVITE", "ACK", "PUBLISH"]


def test_quiet_tcp_connection_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle TCP connection carries CRLF pings (RFC 5626 section 3.5.1)."""
    monkeypatch.setattr(sip_transport, "KEEPALIVE", 0.05)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Phone("u", "a", "x", proxy=server.getsockname(), transport="tcp") as phone,
    ):
        port = phone.local[1]
        connection, source = server.accept()
        with connection:
            connection.settimeout(10)
            assert source[1] == port
            assert connection.recv(4, socket.MSG_WAITALL) == b"\r\n\r\n"


def test_connection_lost_before_the_answer_is_an_error_at_once() -> None:
    """If the proxy closes the connection after the REGISTER, the error comes at once, not at the timeout."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Phone("u", "a", "x", proxy=server.getsockname(), transport="tcp", timeout=10) as phone,
    ):

        def hang_up() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65535)

        rude = threading.Thread(target=hang_up)
        rude.start()
        with pytest.raises(NoAnswer, match="lost before the response"):
            phone.register()
        rude.join()
