"""Every error that the API answers: a type with its status, and the one function that makes the body."""

import logging
from collections.abc import Iterable
from typing import Any

from flask import Flask, Response
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from werkzeug.exceptions import (
    BadRequest,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
)

from api.envelope import error_envelope, name_request, send_request_id
from api.spool import SpoolFailed
from kamailio.errors import KamailioError
from sql.errors import DatabaseReadOnly, DatabaseUnreachable

RETRY_AFTER_SECONDS = 2

log = logging.getLogger(__name__)


class ApiError(Exception):
    """An answer other than success, as in Crossbar (crossbar.md, table of errors)."""

    status = 500
    message = "unspecified_fault"
    headers: Iterable[tuple[str, str]] = ()

    def __init__(self, data: Any = None) -> None:
        super().__init__(self.message)
        self.data = {"message": self.message.replace("_", " ")} if data is None else data


class ParseError(ApiError):
    """The body is not JSON, or what came is not HTTP."""

    status, message = 400, "parse_error"

    def __init__(self, what: str = "request body") -> None:
        super().__init__({"message": f"failed to parse {what}"})


class InvalidData(ApiError):
    """A parameter or a value of the body is not as it must be; the answer names it and the rule that it breaks."""

    status, message = 400, "invalid data"

    def __init__(self, field: str, rule: str, message: str) -> None:
        """Name the one field.

        Args:
            field: its name in ``data``.
            rule: the rule of JSON Schema that it breaks, as in Crossbar.
            message: one line for whoever wrote the client.
        """
        super().__init__({field: {rule: {"message": message}}})


class InvalidCredentials(ApiError):
    """No token or API key, or one that opens nothing."""

    status, message = 401, "invalid_credentials"


class Forbidden(ApiError):
    """The account is not in the token's tree, or is not there at all; or the token is restricted to other things."""

    status, message = 403, "forbidden"


class UnknownAccount(ApiError):
    """There is no such account; told to a superduper admin only."""

    status, message = 404, "bad_identifier"

    def __init__(self, account_id: str) -> None:
        super().__init__({"cause": account_id, "message": "bad identifier"})


class UnknownDevice(ApiError):
    """The account has no such device, whoever else has."""

    status, message = 404, "bad_identifier"

    def __init__(self, device_id: str) -> None:
        super().__init__({"cause": device_id, "message": "bad identifier"})


class UnknownFlush(ApiError):
    """The account has no such flush, or it is forgotten by now."""

    status, message = 404, "bad_identifier"

    def __init__(self, flush_id: str) -> None:
        super().__init__({"cause": flush_id, "message": "bad identifier"})


class UnknownUsername(ApiError):
    """Neither a device nor a live binding of the account has this username."""

    status, message = 404, "bad identifier"

    def __init__(self, username: str) -> None:
        super().__init__([username])


class UnknownPath(ApiError):
    """No endpoint has this path."""

    status, message = 404, "faulty_request"


class InvalidMethod(ApiError):
    """The path has no such verb; ``Allow`` names those it has."""

    status, message = 405, "invalid_method"

    def __init__(self, allowed: Iterable[str]) -> None:
        super().__init__({"message": "method not allowed"})
        self.headers = [("Allow", ", ".join(sorted(allowed)))]


class NotAcceptable(ApiError):
    """The client takes none of the formats that the endpoint has."""

    status, message = 406, "not_acceptable"


class RequestTooLarge(ApiError):
    """The body (413), the URL (414) or the headers (431) are larger than the server reads."""

    message = "request_too_large"

    def __init__(self, status: int, what: str) -> None:
        super().__init__({"message": f"{what} too large"})
        self.status = status


class TooManyRequests(ApiError):
    """The client has used up what its address may ask of this account for now."""

    status, message = 429, "too_many_requests"

    def __init__(self, *, retry_after: int) -> None:
        """Say after how many seconds it is worth another try."""
        super().__init__()
        self.headers = [("Retry-After", str(retry_after))]


class UnspecifiedFault(ApiError):
    """A bug, or a database that was changed by hand; the log has it, the client is told nothing of the inside."""


class DatastoreUnreachable(ApiError):
    """PostgreSQL is away or too slow, or the request came to its turn too late."""

    status, message = 503, "datastore_unreachable"
    headers = (("Retry-After", str(RETRY_AFTER_SECONDS)),)

    def __init__(self) -> None:
        super().__init__({"message": "datastore timeout"})


class DatastoreReadOnly(ApiError):
    """PostgreSQL answers and takes no writes: a standby, or an operator's choice; ours, Crossbar has no word for it."""

    status, message = 503, "datastore_read_only"
    headers = (("Retry-After", str(RETRY_AFTER_SECONDS)),)

    def __init__(self) -> None:
        super().__init__({"message": "datastore is read-only"})


class RegistrarUnreachable(ApiError):
    """Kamailio cannot be reached or did not do what it was asked; ours, Crossbar's contract has no word for it."""

    status, message = 503, "registrar_unreachable"
    headers = (("Retry-After", str(RETRY_AFTER_SECONDS)),)

    def __init__(self) -> None:
        super().__init__({"message": "registrar timeout"})


class StorageExhausted(ApiError):
    """The answer is too large for memory, and the temporary directory does not take it; ours as well."""

    status, message = 503, "storage_exhausted"
    headers = (("Retry-After", str(RETRY_AFTER_SECONDS)),)


def as_api_error(error: Exception) -> ApiError:  # noqa: PLR0911  # a table, one row a case
    """The answer to anything that was raised while a request was worked on."""
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


def _respond(error: Exception) -> Response:
    answer = as_api_error(error)
    if answer.status >= 500:
        bug = isinstance(answer, UnspecifiedFault)
        log.error("request failed", extra={"action": "error", "cause": str(error)}, exc_info=error if bug else None)
    response = error_envelope(status=answer.status, message=answer.message, data=answer.data)
    response.headers.extend(answer.headers)
    return response


def answer_unread(app: Flask, error: BaseException | None) -> Response:
    """The answer to a request that the server could not read, so that there is none for the application.

    Args:
        app: whose envelope it is.
        error: gunicorn's; None when it is no fault of the client's.
    """
    with app.test_request_context():
        name_request()
        answer = as_api_error(error) if isinstance(error, Exception) else UnspecifiedFault()
        if metrics := app.extensions.get("metrics"):
            metrics.unread(answer.status)
        return send_request_id(error_envelope(status=answer.status, message=answer.message, data=answer.data))


def init_app(app: Flask) -> None:
    """Answer every fault in the envelope."""
    app.register_error_handler(Exception, _respond)
