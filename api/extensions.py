"""What the application stands on, for hooks and views: its settings, its database, the nodes of Kamailio."""

from flask import Flask, current_app

from api.settings import ApiSettings
from kamailio.nodes import Nodes
from sql.connections.database import Database
from sql.connections.writability import Writability


def init_app(app: Flask, *, settings: ApiSettings, database: Database, nodes: Nodes) -> None:
    """Keep them as long as the application lives."""
    app.extensions.update(settings=settings, database=database, nodes=nodes, writability=Writability())


def settings() -> ApiSettings:
    """The settings of the application that answers the request."""
    return settings_of(current_app)


def settings_of(app: Flask) -> ApiSettings:
    """The settings of an application, for the server that runs it."""
    found: ApiSettings = app.extensions["settings"]
    return found


def database() -> Database:
    """The database of the application that answers the request."""
    found: Database = current_app.extensions["database"]
    return found


def nodes() -> Nodes:
    """The nodes of Kamailio of the application that answers the request."""
    found: Nodes = current_app.extensions["nodes"]
    return found


def writability() -> Writability:
    """Whether that database takes writes."""
    found: Writability = current_app.extensions["writability"]
    return found
