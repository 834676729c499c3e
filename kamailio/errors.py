"""Errors of talking to Kamailio."""

from __future__ import annotations

# The messages with which jsonrpcs and registrations.cfg refuse a command that they do not serve.
NOT_SERVED = frozenset({"Method Not Found", "Method Not Allowed", "Forbidden"})


class KamailioError(Exception):
    """Base of every error of this package."""


class KamailioUnreachable(KamailioError):
    """Kamailio did not answer in time, or there was no connection to it. It may have executed the request anyway.

    Attributes:
        url: of its JSON-RPC.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(f"Kamailio does not answer at {url}: {reason}")


class RpcError(KamailioError):
    """Kamailio answered with an error.

    Attributes:
        code: as sent; Kamailio uses SIP-like numbers (400, 404, 500), not those of JSON-RPC.
        message: as sent.
        method: the command.
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
            "Contact not found, although it is registered: over this transport Kamailio can remove one of several "
            "contacts only with usrloc's matching_mode 0. Use HTTP (KAMAILIO_RPC_LISTEN), which works in every mode",
            "ul.rm_contact",
        )


class NotCarried(RpcError):
    """The transport cannot carry the request: it is too large, or Kamailio would read it as something else.

    We did not send it, so nothing has changed. `code` is 400, `message` names the transport and the reason.
    """

    def __init__(self, url: str, reason: str, method: str) -> None:
        super().__init__(400, f"not sent, because {url} cannot carry it: {reason}", method)


class RpcProtocolError(KamailioError):
    """The answer is not JSON-RPC, or its id is not that of a request of ours.

    Kamailio answers like this to a request that it did not execute. But another process may have written the answer
    in Kamailio's place, so the caller cannot know what happened.
    """


class UnknownHost(KamailioError):
    """A NOTIFY would go to a host that only the phone named: its REGISTER came from elsewhere, and no setting lists it.

    Attributes:
        column: of usrloc's table, which names the host.
    """

    def __init__(self, column: str, uri: str, *, source: str | None) -> None:
        self.column = column
        why = (
            f"the REGISTER came from {source!r}"
            if source
            else "the source of the REGISTER is unknown: the worker has not fetched it yet, or it was lost"
        )
        super().__init__(
            f"{column} leads to {uri!r}, but {why}. If it is an edge proxy of yours, add it to "
            "REGISTRATIONS_KAMAILIO_EDGES"
        )


class UnsafeText(KamailioError):
    """A phone registered a text that would change the meaning of our SIP request.

    Attributes:
        column: of usrloc's table.
    """

    def __init__(self, column: str, text: str) -> None:
        self.column = column
        super().__init__(f"{column} is not safe in a SIP request: {text!r}")
