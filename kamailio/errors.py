"""What can go wrong between us and the proxy."""

from __future__ import annotations

# The messages with which jsonrpcs and registrations.cfg refuse a command that they do not serve.
NOT_SERVED = frozenset({"Method Not Found", "Method Not Allowed", "Forbidden"})


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


class UnnamedError(RpcError):
    """An error answer without a request id: the server, which may not be Kamailio, refused the request unread.

    It says nothing about the binding or the AoR of the request.
    """


class ContactNotMatched(RpcError):
    """`ul.rm_contact` does not find a contact that `ul.lookup` shows: usrloc's matching_mode is not 0."""

    def __init__(self) -> None:
        super().__init__(
            404,
            "Contact not found, although it is there: by this way Kamailio removes one contact of several only if "
            "usrloc's matching_mode is 0; ask it over HTTP (KAMAILIO_RPC_LISTEN), where it does in any",
            "ul.rm_contact",
        )


class NotCarried(RpcError):
    """The transport cannot carry the request: it is too large, or Kamailio would read it as something else.

    We did not send it, so nothing has changed. `code` is 400, `message` names the transport and the reason.
    """

    def __init__(self, url: str, reason: str, method: str) -> None:
        super().__init__(400, f"not sent, since {url} cannot carry it: {reason}", method)


class RpcProtocolError(KamailioError):
    """The answer is not JSON-RPC, or its id is not one of ours.

    Kamailio answers like this to a request that it did not execute. But another process may have written the answer
    in Kamailio's place, so the caller cannot know what happened.
    """


class UnknownHost(KamailioError):
    """A phone named the host that its NOTIFY would go to. Its REGISTER came from another, and no setting lists it.

    Attributes:
        column: of usrloc's table, which names the host.
    """

    def __init__(self, column: str, uri: str, *, source: str | None) -> None:
        self.column = column
        why = (
            f"the REGISTER came from {source!r}"
            if source
            else "where the REGISTER came from is not known: the worker has not fetched it yet, or it was lost"
        )
        super().__init__(
            f"{column} leads to {uri!r}, and {why}; if it is an edge proxy of yours, name it in "
            "REGISTRATIONS_KAMAILIO_EDGES"
        )


class UnsafeText(KamailioError):
    """A text that a phone registered is unsafe in our SIP request: it would change the meaning of the request.

    Attributes:
        column: of usrloc's table.
    """

    def __init__(self, column: str, text: str) -> None:
        self.column = column
        super().__init__(f"{column} cannot stand in a SIP request: {text!r}")
