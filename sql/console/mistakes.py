"""How the three commands speak to an operator: one line and an exit code for what he can mend."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from pydantic import ValidationError

from sql.errors import DatabaseError, DatabaseReadOnly, LoginRefused, PermissionLacking

NOT_SET = "is not set; the commands take it from the environment"
CURES = {
    DatabaseReadOnly: "; have REGISTRATIONS_DATABASE_URL name the primary, or reset default_transaction_read_only",
    LoginRefused: "; correct REGISTRATIONS_DATABASE_URL or ~/.pgpass, or set the role's password by psql's \\password",
    PermissionLacking: "; log in by REGISTRATIONS_DATABASE_URL as who may: the owner of location for registrations-db, "
    "registrations_sync and registrations_api for worker and API; `registrations-db migrate` gives what these lack",
}


@contextmanager
def operators_mistakes(*, exit_code: int = 1) -> Iterator[None]:
    """Turn what an operator can mend into one line and this exit code; anything else is a bug and a traceback."""
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
        cure = next((cure for kind, cure in CURES.items() if isinstance(error, kind)), "")
        raise _mistake(f"{error}{cure}", exit_code) from error


def _mistake(text: str, exit_code: int) -> click.ClickException:
    mistake = click.ClickException(text)
    vars(mistake)["exit_code"] = exit_code  # click declares it of the class
    return mistake
