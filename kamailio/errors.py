"""What can go wrong between us and the proxy."""

from __future__ import annotations


class KamailioError(Exception):
    """Base of every error of this package."""


class KamailioUnreachable(KamailioError):
    """Kamailio could not be asked, or did not answer in time. What was asked may have been done all the same.

    Attributes:
        url: where it was looked for.
        answered: how many calls had their answer before that.
        asked: how many calls there were.
    """

    def __init__(self, url: str, reason: str, *, answered: int = 0, asked: int = 1) -> None:
        self.url = url
        self.reason = reason
        self.answered = answered
        self.asked = asked
        progress = f" ({answered} of {asked} calls answered)" if asked > 1 else ""
        super().__init__(f"Kamailio does not answer at {url}: {reason}{progress}")


class RpcError(KamailioError):
    """Kamailio answered that it refuses or failed.

    Attributes:
        code: as sent; Kamailio uses SIP-like numbers (400, 404, 500), not those of JSON-RPC.
        message: as sent.
        method: what was called.
    """

    def __init__(self, code: int, message: str, method: str) -> None:
        self.code = code
        self.message = message
        self.method = method
        super().__init__(f"{method}: {code} {message}")


class NotCarried(RpcError):
    """The way to Kamailio takes no such request: it is too large, or says what would arrive as something else.

    Kamailio was not asked, so nothing has changed. `code` is 400, `message` names the way and the reason.
    """

    def __init__(self, url: str, reason: str, method: str) -> None:
        super().__init__(400, f"not sent, since {url} cannot carry it: {reason}", method)


class RpcProtocolError(KamailioError):
    """An answer that is no JSON-RPC, or bears no id of ours: nobody knows who wrote it.

    Kamailio answers so to what it did not carry out; another may have written it in place of Kamailio's own answer.
    """


class UnknownHost(KamailioError):
    """A NOTIFY would go to a host that the phone named, and that neither its REGISTER came from nor the operator knows.

    Attributes:
        column: of usrloc's table, which names the host.
    """

    def __init__(self, column: str, uri: str) -> None:
        self.column = column
        super().__init__(
            f"{column} leads to {uri!r}, and the REGISTER was not seen to come from there; if that is an edge proxy "
            "of yours, name its host in REGISTRATIONS_KAMAILIO_EDGES"
        )


class UnsafeText(KamailioError):
    """What a phone registered cannot stand in a SIP request of ours: it would say something else there.

    Attributes:
        column: of usrloc's table.
    """

    def __init__(self, column: str, text: str) -> None:
        self.column = column
        super().__init__(f"{column} cannot stand in a SIP request: {text!r}")
