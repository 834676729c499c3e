"""The phones' messages, framing and digest, compared with the examples of the RFCs."""

import pytest

from tests.stand.sip import (
    Frames,
    Headers,
    MalformedMessage,
    Request,
    Response,
    escape_user,
    parse,
    parse_address,
)
from tests.stand.sip_digest import credentials, digest_response, usable_challenge

RFC2617 = {"realm": "testrealm@host.com", "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093"}
RFC7616 = {"realm": "http-auth@example.org", "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "qop": "auth"}
RFC7616_CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
OPTIONS = (
    b"OPTIONS sip:bob@192.0.2.4 SIP/2.0\r\n"
    b"v: SIP/2.0/UDP a.example:5060;branch=z9hG4bKtop , SIP/2.0/TCP b.example;branch=z9hG4bKtwo\r\n"
    b"VIA: SIP/2.0/TLS c.example;branch=z9hG4bKthree\r\n"
    b'f: "Bob, the\r\n\t builder" <sip:bob@example.com>;tag=1\r\n'
    b"t: <sip:bob@example.com>\r\ni: abc\r\nCSeq:  7   OPTIONS\r\nl: 4\r\n\r\nbody"
)


@pytest.mark.parametrize(
    ("challenge", "cnonce", "password", "expected"),
    [
        (RFC2617 | {"qop": "auth"}, "0a4f113b", "Circle Of Life", "6629fae49393a05397450978507c4ef1"),
        (RFC2617, "", "CircleOfLife", "1949323746fe6a43ef61f9606e7febea"),
        (RFC7616, RFC7616_CNONCE, "Circle of Life", "8ca523f5e9506fed4657c9700eebdbec"),
        (
            RFC7616 | {"algorithm": "SHA-256"},
            RFC7616_CNONCE,
            "Circle of Life",
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
    ],
    ids=["RFC 2617 3.5", "RFC 2069 2.4 with erratum 749", "RFC 7616 3.9.1 MD5", "RFC 7616 3.9.1 SHA-256"],
)
def test_digest_equals_the_rfc_example(challenge: dict[str, str], cnonce: str, password: str, expected: str) -> None:
    """The digest is the one in the RFC."""
    response = digest_response(
        challenge, username="Mufasa", password=password, method="GET", uri="/dir/index.html", nc=1, cnonce=cnonce
    )

    assert response == expected


def test_credentials_carry_what_the_challenge_asks_for() -> None:
    """Credentials repeat opaque and algorithm, count the nonce in eight hexadecimal digits and escape quotes."""
    challenge = RFC2617 | {"qop": "auth,auth-int", "opaque": "5ccc", "algorithm": "MD5"}

    value = credentials(challenge, username='M"x\\', password="p", method="REGISTER", uri="sip:a", nc=26)

    assert r'username="M\"x\\"' in value
    assert all(part in value for part in ('opaque="5ccc"', "algorithm=MD5", "nc=0000001a", "qop=auth,", "cnonce="))


def test_credentials_without_qop_carry_no_counter() -> None:
    """A challenge without qop gets neither nc nor cnonce (RFC 2617 section 3.2.2)."""
    value = credentials(RFC2617, username="a", password="p", method="REGISTER", uri="sip:a", nc=1)

    assert not any(word in value for word in ("qop", "nc=", "cnonce"))


def test_the_first_challenge_that_we_can_answer_is_taken() -> None:
    """Unknown schemes, algorithms and qop values are skipped."""
    offers = [
        'Basic realm="a"',
        'Digest realm="b", nonce="n", algorithm=SHA-512-256',
        'Digest realm="c", nonce="n", qop="auth-int"',
        'Digest realm="d", nonce="n, m", qop="auth-int, auth"',
    ]
    refused = Response(401, "Unauthorized", headers=Headers([("WWW-Authenticate", each) for each in offers]))

    assert usable_challenge(refused) == {"realm": "d", "nonce": "n, m", "qop": "auth-int, auth"}


def test_message_is_parsed_whatever_its_spelling() -> None:
    """Folded headers, compact forms, any case, and several Via in one line or many are parsed alike."""
    message = parse(OPTIONS)

    assert isinstance(message, Request)
    assert (message.method, message.uri, message.body) == ("OPTIONS", "sip:bob@192.0.2.4", b"body")
    assert message.headers["from"] == '"Bob, the builder" <sip:bob@example.com>;tag=1'
    assert [via.split()[0] for via in message.headers.listed("Via")] == [
        "SIP/2.0/UDP",
        "SIP/2.0/TCP",
        "SIP/2.0/TLS",
    ]
    assert message.branch == "z9hG4bKtop"
    assert message.cseq == (7, "OPTIONS")


def test_answer_repeats_the_transaction() -> None:
    """An answer has all Via in order, the same From, Call-ID and CSeq, and a tag on To."""
    request = parse(OPTIONS)
    assert isinstance(request, Request)

    answer = parse(request.answer(200, "OK", to_tag="x").encode())

    assert answer.headers.all("Via") == request.headers.all("Via")
    assert answer.headers["To"] == "<sip:bob@example.com>;tag=x"
    assert [answer.headers[name] for name in ("From", "Call-ID")] == [
        request.headers[name] for name in ("From", "Call-ID")
    ]
    assert answer.cseq == request.cseq


def test_bytes_that_are_not_utf8_survive() -> None:
    """Parsing and encoding keep a Latin-1 byte unchanged."""
    data = b"REGISTER sip:a SIP/2.0\r\nUser-Agent: caf\xe9\r\nContent-Length: 0\r\n\r\n"

    assert parse(data).encode() == data


@pytest.mark.parametrize(
    "data", [b"", b"\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"SIP/2.0 OK\r\n\r\n", b"OPTIONS a SIP/2.0\r\nno header\r\n\r\n"]
)
def test_what_is_no_sip_is_refused(data: bytes) -> None:
    """What is not SIP raises an error that callers can catch."""
    with pytest.raises(MalformedMessage):
        parse(data)


@pytest.mark.parametrize("step", [1, 7, 100, 10_000])
def test_stream_is_cut_by_content_length(step: int) -> None:
    """Messages come out whole and in order however the stream is split, without keep-alives."""
    second = parse(b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n").encode()
    stream = b"\r\n\r\n" + OPTIONS + b"\r\n" + second + second + OPTIONS
    frames = Frames()

    cut = [message for at in range(0, len(stream), step) for message in frames.feed(stream[at : at + step])]

    assert cut == [OPTIONS, second, second, OPTIONS]


def test_datagram_ends_at_its_content_length() -> None:
    """Bytes of a datagram beyond Content-Length are not part of the body (RFC 3261 section 18.3)."""
    assert parse(OPTIONS + b"garbage").body == b"body"


def test_contacts_are_told_apart() -> None:
    """Commas in quotes and in angle brackets do not separate contacts. Parameters stay with their contact."""
    value = '"a, <b>" <sip:a@x;transport=ws?h=1,2>;expires=60;q=0.5, <sip:b@[::1]:5060>;expires=5, sip:c@z;expires=7'
    response = Response(200, "OK", headers=Headers([("m", value)]))

    assert response.contacts == {
        "sip:a@x;transport=ws?h=1,2": {"expires": "60", "q": "0.5"},
        "sip:b@[::1]:5060": {"expires": "5"},
        "sip:c@z": {"expires": "7"},
    }


def test_user_part_is_escaped() -> None:
    """Characters that a SIP URI may not hold are escaped, all others are kept."""
    assert escape_user("a b@c") == "a%20b%40c"
    assert escape_user("+49(30)1;x=1") == "+49(30)1;x=1"
    assert parse_address(f"<sip:{escape_user('a>b')}@x>") == ("sip:a%3Eb@x", {})
