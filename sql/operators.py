"""How the three commands speak to an operator: one line and an exit code for what he can mend."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from pydantic import ValidationError

from sql.errors import DatabaseError


@contextmanager
def operators_mistakes(*, exit_code: int = 1) -> Iterator[None]:
    """Turn what an operator can mend into one line and this exit code; anything else is a bug and a traceback."""
    try:
        yield
    except ValidationError as error:
        lines = [
            "".join(f"REGISTRATIONS_{str(name).upper()}: " for name in problem["loc"][:1])
            + problem["msg"].removeprefix("Value error, ")
            for problem in error.errors()
        ]
        raise _mistake("\n".join(lines), exit_code) from error
    except DatabaseError as error:
        raise _mistake(str(error), exit_code) from error


def _mistake(text: str, exit_code: int) -> click.ClickException:
    mistake = click.ClickException(text)
    vars(mistake)["exit_code"] = exit_code  # click declares it of the class
    return mistake
