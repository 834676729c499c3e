"""An API written in five minutes, for comparison: SELECT *, jsonify. No token, no account, no filter, no page."""

from __future__ import annotations

import os

from flask import Flask, Response, jsonify
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool


def create_app() -> Flask:
    """Make the application on the database of REGISTRATIONS_DATABASE_URL."""
    app = Flask("naive")
    pool = ConnectionPool(os.environ["REGISTRATIONS_DATABASE_URL"], kwargs={"row_factory": dict_row}, open=True)

    @app.get("/ready")
    def ready() -> Response:
        return jsonify("ok")

    @app.get("/<account_id>")
    def registrations(account_id: str) -> Response:
        with pool.connection() as connection:
            rows = connection.execute("select * from location where account_id = %s", (account_id,)).fetchall()
        return jsonify(data=rows)

    return app
