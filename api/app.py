"""The application factory. Nothing happens at import; only api.wsgi and api.cli read the environment."""

from collections.abc import Callable

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from api import (
    access,
    auth,
    body,
    cors,
    devices,
    document,
    envelope,
    errors,
    extensions,
    flushes,
    formats,
    paths,
    rate_limit,
    registrations,
    status,
    system,
    tunnel,
)
from api.server import waiting
from api.settings import ApiSettings
from kamailio.nodes import Nodes
from kamailio.rpc import Observation
from kamailio.settings import KamailioSettings
from sql.connections.database import Database
from sql.settings import DatabaseSettings


def _measure(app: Flask, listen: str) -> Callable[[int, Observation], None]:
    from api import metrics  # noqa: PLC0415  # its library looks for the shared directory when it is imported

    counters = metrics.Metrics()
    metrics.init_app(app, counters, listen=listen)
    return counters.call


def create_app(
    api_settings: ApiSettings, database_settings: DatabaseSettings, kamailio_settings: KamailioSettings
) -> Flask:
    """Make the WSGI application; it connects to nothing before the first request."""
    app = Flask("api", static_folder=None)
    app.config["PAGE_SIZE"] = api_settings.api_page_size
    app.config["MAX_PAGE_SIZE"] = api_settings.api_max_page_size
    app.config["REQUEST_TIMEOUT"] = api_settings.api_request_timeout
    app.config["FLUSH_BUDGET"] = api_settings.api_flush_budget
    app.config["FLUSH_CHECK_SYNC"] = api_settings.api_flush_check_sync
    app.config["SYNC_REBOOT"] = api_settings.api_sync_reboot
    app.config["TOKEN_IDLE_LIFETIME"] = api_settings.api_token_idle_lifetime
    if api_settings.api_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=api_settings.api_proxies, x_proto=0)  # type: ignore[method-assign]
    paths.init_app(app)
    observe = _measure(app, api_settings.api_metrics_listen) if api_settings.api_metrics_listen else None
    extensions.init_app(
        app,
        database=Database(database_settings, application_name="registrations-api", pool_size=api_settings.api_threads),
        nodes=Nodes(kamailio_settings, observe=observe),
    )
    body.init_app(app, max_bytes=api_settings.api_max_body)
    envelope.init_app(app, node=api_settings.api_node)
    errors.init_app(app)
    cors.init_app(app, origins=api_settings.allowed_origins)
    access.note_token(app)
    tunnel.init_app(app)
    waiting.init_app(app, most=api_settings.api_queue_timeout)
    if api_settings.api_rate_burst:
        limit = rate_limit.RateLimit(
            burst=api_settings.api_rate_burst,
            refill=api_settings.api_rate_refill,
            storage=api_settings.api_rate_storage,
        )
        rate_limit.init_app(app, limit)
    access.init_app(app)
    formats.init_app(app)
    for path, blueprint in (
        ("/registrations", registrations.blueprint),
        ("/registrations/flushes", flushes.blueprint),
        ("/devices", devices.blueprint),
    ):
        app.register_blueprint(blueprint, url_prefix=f"/v2/accounts/<account_id>{path}")
        # Crossbar's alias; whose account it is the guard knows.
        alias = {"name": f"own_{blueprint.name}", "url_defaults": {"account_id": ""}}
        app.register_blueprint(blueprint, url_prefix=f"/v2/account{path}", **alias)
    for blueprint in (auth.blueprint, system.blueprint, status.blueprint, document.blueprint):
        app.register_blueprint(blueprint)
    return app
