"""How the commands report an operator's mistake: one line and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from pydantic import ValidationError

from sql.errors import DatabaseError, DatabaseReadOnly, LoginRefused, PermissionLacking

NOT_SET = "is not set; the commands take it from the environment"
REMEDIES = {
    DatabaseReadOnly: "; have REGISTRATIONS_DATABASE_URL name the primary, or reset default_transaction_read_only",
    LoginRefused: "; correct REGISTRATIONS_DATABASE_URL or ~/.pgpass, or set the role's password by psql's \\password",
    PermissionLacking: "; have REGISTRATIONS_DATABASE_URL log in as a role that may: the owner of location for "
    "registrations-db, registrations_sync for the worker, registrations_api for the API. `registrations-db migrate` "
    "grants what the last two lack",
}


@contextmanager
def operators_mistakes(*, exit_code: int = 1) -> Iterator[None]:
    """Report what an operator can correct in one line, with this exit code. Anything else is a bug: a traceback."""
    try:
        yield
    except ValidationError as error:
        lines = [
            "".join(f"REGISTRATIONS_{str(name).upper()}: " for name in problem["loc"][:1])
            + (NOT_SET if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, "))
            for problem in error.errors()
        ]
        raise _mistake("\n".join(lines), exit_code) from error
    except DatabaseError as error:
        remedy = next((remedy for kind, remedy in REMEDIES.items() if isinstance(error, kind)), "")
        raise _mistake(f"{error}{remedy}", exit_code) from error


def _mistake(text: str, exit_code: int) -> click.ClickException:
    mistake = click.ClickException(text)
    vars(mistake)["exit_code"] = exit_code  # click declares it on the class
    return mistake
