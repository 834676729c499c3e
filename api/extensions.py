"""What the application stands on, for the views: its database and the nodes of Kamailio, as Flask keeps extensions."""

from flask import Flask, current_app

from kamailio.nodes import Nodes
from sql.connections.database import Database
from sql.connections.writability import Writability


def init_app(app: Flask, *, database: Database, nodes: Nodes) -> None:
    """Keep them for the time of the application."""
    app.extensions["database"] = database
    app.extensions["nodes"] = nodes
    app.extensions["writability"] = Writability()


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
