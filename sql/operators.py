"""How the three commands speak to an operator: one line and an exit code for what he can mend."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from pydantic import ValidationError

from sql.errors import DatabaseError


@contextmanager
def operators_mistakes() -> Iterator[None]:
    """Turn what an operator can mend into one line and exit code 1; anything else is a bug and a traceback."""
    try:
        yield
    except ValidationError as error:
        lines = [
            f"REGISTRATIONS_{str(problem['loc'][0]).upper()}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        ]
        raise click.ClickException("\n".join(lines)) from error
    except DatabaseError as error:
        raise click.ClickException(str(error)) from error
