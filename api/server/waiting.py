"""A request whose turn came too late is answered 503 at once: a queue drains, and no client waits without end."""

from contextvars import ContextVar

from flask import Flask, current_app, request

from sql.errors import DatabaseUnreachable

# Seconds that the request at hand has waited for a thread of the server: the server's word, each thread has its own.
waited: ContextVar[float] = ContextVar("waited", default=0.0)


def init_app(app: Flask, *, most: float) -> None:
    """Refuse what has waited longer than that; not what costs nothing and wants no database, such as /live."""

    def refuse() -> None:
        if waited.get() <= most or request.url_rule is None:
            return
        if getattr(current_app.view_functions[request.url_rule.endpoint], "cost", 1):
            raise DatabaseUnreachable(f"the request has waited {waited.get():.1f} s for its turn")

    app.before_request(refuse)
