"""Every error that the API answers: a type with its status, and the one function that makes the body."""

import logging
from collections.abc import Iterable
from typing import Any

from flask import Flask, Response
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from werkzeug.exceptions import BadRequest, MethodNotAllowed, NotFound, RequestEntityTooLarge

from api.envelope import error_envelope, name_request, send_request_id
from api.spool import SpoolFailed
from kamailio.errors import KamailioError
from sql.errors import DatabaseReadOnly, DatabaseUnreachable

RETRY_AFTER_SECONDS = 2

log = logging.getLogger(__name__)


class ApiError(Exception):
    """An answer other than success, as in Crossbar (crossbar.md, table of errors).

    Attributes:
        status: of HTTP.
        message: Crossbar's word for it.
        words: for people, in ``data``; the message without underscores where a type has none.
        headers: that go with it.
    """

    status = 500
    message = "unspecified_fault"
    words = ""
    headers: Iterable[tuple[str, str]] = ()

    def __init__(self, data: Any = None) -> None:
        super().__init__(self.message)
        self.data = {"message": self.words or self.message.replace("_", " ")} if data is None else data


class ParseError(ApiError):
    """The body is not JSON, or the request is not HTTP."""

    status, message = 400, "parse_error"

    def __init__(self, what: str = "request body") -> None:
        super().__init__({"message": f"failed to parse {what}"})


class InvalidData(ApiError):
    """A parameter or a value of the body is wrong; the answer names it and the rule that it breaks."""

    status, message = 400, "invalid data"

    def __init__(self, field: str, rule: str, message: str) -> None:
        """Name the one field.

        Args:
            field: its name in ``data``.
            rule: the rule of JSON Schema that it breaks, as in Crossbar.
            message: one line for the author of the client.
        """
        super().__init__({field: {rule: {"message": message}}})


class InvalidCredentials(ApiError):
    """There is no token or API key, or it opens nothing."""

    status, message = 401, "invalid_credentials"
    headers = (("WWW-Authenticate", "Bearer"),)  # RFC 9110, 15.5.2


class Forbidden(ApiError):
    """The token opens no such account, whether there is one or not, or its restrictions forbid the request."""

    status, message = 403, "forbidden"


class BadIdentifier(ApiError):
    """Nothing has the ID in the path, as far as the token may know."""

    status, message = 404, "bad_identifier"

    def __init__(self, identifier: str) -> None:
        super().__init__({"cause": identifier, "message": "bad identifier"})


class UnknownUsername(ApiError):
    """Neither a device nor a live binding of the account has this username."""

    status, message = 404, "bad identifier"

    def __init__(self, username: str) -> None:
        super().__init__([username])


class UnknownPath(ApiError):
    """No endpoint has this path."""

    status, message = 404, "faulty_request"


class InvalidMethod(ApiError):
    """The path does not have this method; ``Allow`` names those it has."""

    status, message, words = 405, "invalid_method", "method not allowed"

    def __init__(self, allowed: Iterable[str]) -> None:
        super().__init__()
        self.headers = [("Allow", ", ".join(sorted(allowed)))]


class NotAcceptable(ApiError):
    """The endpoint has none of the formats that the client accepts."""

    status, message = 406, "not_acceptable"


class RequestTooLarge(ApiError):
    """The body (413), the URL (414) or the headers (431) are larger than the server reads."""

    message = "request_too_large"

    def __init__(self, status: int, what: str) -> None:
        super().__init__({"message": f"{what} too large"})
        self.status = status


class TooManyRequests(ApiError):
    """The client has used up the tokens of its address for this account."""

    status, message = 429, "too_many_requests"

    def __init__(self, *, retry_after: int) -> None:
        """Tell the client after how many seconds to try again."""
        super().__init__()
        self.headers = [("Retry-After", str(retry_after))]


class UnspecifiedFault(ApiError):
    """A bug, or a database that was changed by hand. The log has the cause; the client is not told it."""


class Unavailable(ApiError):
    """Something that the answer needs does not work now; ``Retry-After`` says when to try again."""

    status = 503
    headers = (("Retry-After", str(RETRY_AFTER_SECONDS)),)


class DatastoreUnreachable(Unavailable):
    """PostgreSQL is away or too slow."""

    message, words = "datastore_unreachable", "datastore timeout"


class DatastoreReadOnly(Unavailable):
    """PostgreSQL answers and takes no writes: a standby, or an operator's choice. Crossbar has no word for it."""

    message, words = "datastore_read_only", "datastore is read-only"


class RegistrarUnreachable(Unavailable):
    """Kamailio cannot be reached, or did not do what it was asked. Crossbar has no word for it."""

    message, words = "registrar_unreachable", "registrar timeout"


class StorageExhausted(Unavailable):
    """The answer is too large for memory, and the temporary directory does not take it. Crossbar has no word for it."""

    message = "storage_exhausted"


class ServerBusy(Unavailable):
    """Every thread of the server was busy for so many seconds. Crossbar has no word for it."""

    message = "server_busy"

    def __init__(self, waited: float) -> None:
        super().__init__()
        self.args = (f"the request waited {waited:.1f} s for a thread",)  # for the log


def as_api_error(error: Exception) -> ApiError:  # noqa: PLR0911  # a table, one row a case
    """The answer to whatever was raised during a request."""
    match error:
        case ApiError():
            return error
        case DatabaseReadOnly():
            return DatastoreReadOnly()
        case DatabaseUnreachable():
            return DatastoreUnreachable()
        case KamailioError():
            return RegistrarUnreachable()
        case SpoolFailed():
            return StorageExhausted()
        case NotFound():
            return UnknownPath()
        case MethodNotAllowed():
            return InvalidMethod(error.valid_methods or ())
        case RequestEntityTooLarge():
            return RequestTooLarge(413, "request body")
        case LimitRequestLine():
            return RequestTooLarge(414, "request line")
        case LimitRequestHeaders():
            return RequestTooLarge(431, "request headers")
        case ParseException() | BadRequest():  # gunicorn's: a line, a header, a chunk; werkzeug's: the Host
            return ParseError("request")
        case _:
            return UnspecifiedFault()


def respond(error: Exception) -> Response:
    """Answer an error in the envelope, and log it if it is not the client's."""
    answer = as_api_error(error)
    if answer.status >= 500:
        bug = isinstance(answer, UnspecifiedFault)
        log.error("request failed", extra={"action": "error", "cause": str(error)}, exc_info=error if bug else None)
    response = error_envelope(status=answer.status, message=answer.message, data=answer.data)
    response.headers.extend(answer.headers)
    return response


def answer_unread(app: Flask, error: BaseException | None) -> Response:
    """The answer to a request that the server could not read and so did not pass to the application.

    Args:
        app: whose envelope it is.
        error: gunicorn's; None when the client is not at fault.
    """
    with app.test_request_context():
        name_request()
        answer = as_api_error(error) if isinstance(error, Exception) else UnspecifiedFault()
        if metrics := app.extensions.get("metrics"):
            metrics.unread(answer.status)
        return send_request_id(error_envelope(status=answer.status, message=answer.message, data=answer.data))
