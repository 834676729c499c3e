"""What the application stands on, for the views: its database and its proxy, kept as Flask keeps extensions."""

from flask import Flask, current_app

from api.flush import Proxy
from sql.connections import Database


def init_app(app: Flask, *, database: Database, proxy: Proxy) -> None:
    """Keep both for the time of the application."""
    app.extensions["database"] = database
    app.extensions["proxy"] = proxy


def database() -> Database:
    """The database of the application that answers the request."""
    found: Database = current_app.extensions["database"]
    return found


def proxy() -> Proxy:
    """The Kamailio of the application that answers the request."""
    found: Proxy = current_app.extensions["proxy"]
    return found
