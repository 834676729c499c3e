"""The application factory. Nothing happens at import; only api.wsgi and api.cli read the environment."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response
from werkzeug.middleware.proxy_fix import ProxyFix

from api import (
    access,
    auth,
    compression,
    cors,
    devices,
    document,
    envelope,
    errors,
    extensions,
    flushes,
    formats,
    paths,
    registrations,
    status,
    system,
    tunnel,
)
from api.rate_limit import RateLimit
from api.server import waiting
from api.settings import ApiSettings
from kamailio.nodes import Nodes
from kamailio.settings import KamailioSettings
from sql.connections.database import Database
from sql.settings import DatabaseSettings

if TYPE_CHECKING:
    from api.metrics import Metrics


def create_app(
    api_settings: ApiSettings, database_settings: DatabaseSettings, kamailio_settings: KamailioSettings
) -> Flask:
    """Make the WSGI application; it connects to nothing before the first request."""
    app = Flask("api", static_folder=None)
    # werkzeug cuts a chunked body off without an error, so it may read one byte more than we take.
    app.config["MAX_CONTENT_LENGTH"] = api_settings.api_max_body + 1
    app.wsgi_app = _wrap(app.wsgi_app, api_settings)  # type: ignore[method-assign]  # where Flask wants middleware
    counters = app.extensions["metrics"] = _make_counters(api_settings)
    extensions.init_app(
        app,
        settings=api_settings,
        database=Database(database_settings, application_name="registrations-api", pool_size=api_settings.api_threads),
        nodes=Nodes(kamailio_settings, observe=counters.call if counters else None),
    )
    burst, refill, storage = api_settings.api_rate_burst, api_settings.api_rate_refill, api_settings.api_rate_storage
    limit = RateLimit(burst=burst, refill=refill, storage=storage) if burst else None
    # In this order. The first that returns a response or raises an error answers the request.
    before: list[Callable[[], Any] | None] = [
        counters.begin if counters else None,
        envelope.name_request,
        cors.answer_preflight,
        access.note_token,  # the envelope of every later answer has the token
        tunnel.take_verb,  # may change the method and the view
        tunnel.take_accept,
        waiting.refuse_late,
        limit.take_for_request if limit else None,
        access.guard,
        formats.negotiate,
    ]
    after: list[Callable[[Response], Response] | None] = [
        limit.count_refusal if limit else None,
        compression.compress,
        cors.permit,
        envelope.finish,
        counters.end if counters else None,
    ]
    for hook in filter(None, before):
        app.before_request(hook)
    for last in filter(None, reversed(after)):  # Flask calls these from the last to the first
        app.after_request(last)
    app.teardown_request(envelope.forget_request)
    app.register_error_handler(Exception, errors.respond)
    paths.init_app(app)
    for path, blueprint in (
        ("/registrations", registrations.blueprint),
        ("/registrations/flushes", flushes.blueprint),
        ("/devices", devices.blueprint),
    ):
        app.register_blueprint(blueprint, url_prefix=f"/v2/accounts/<account_id>{path}")
        # Crossbar's alias for the token's own account, which the guard fills in.
        alias = {"name": f"own_{blueprint.name}", "url_defaults": {"account_id": ""}}
        app.register_blueprint(blueprint, url_prefix=f"/v2/account{path}", **alias)
    for blueprint in (auth.blueprint, system.blueprint, status.blueprint, document.blueprint):
        app.register_blueprint(blueprint)
    return app


def _make_counters(settings: ApiSettings) -> "Metrics | None":
    if not settings.api_metrics_listen:
        return None
    from api.metrics import Metrics  # noqa: PLC0415  # its library looks for the shared directory when it is imported

    return Metrics()


def _wrap(wsgi: Any, settings: ApiSettings) -> Any:
    """Put the middleware around Flask, from the inside out."""
    if settings.api_proxies:
        wsgi = ProxyFix(wsgi, x_for=settings.api_proxies, x_proto=0)
    wsgi = paths.EncodedSlashes(wsgi)
    if settings.api_metrics_listen:
        from api.metrics import by_address  # noqa: PLC0415  # see above

        wsgi = by_address(wsgi, listen=settings.api_metrics_listen)
    return wsgi
