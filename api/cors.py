"""Web apps of other origins, such as monster-ui, may use the API (Fetch standard, CORS; Crossbar: api_util.erl).

A token is sent by the app itself and never by the browser, so credentials in the sense of CORS are never allowed.
"""

from collections.abc import Collection

from flask import Flask, Response, request

# Crossbar's, and what else means something here.
REQUEST_HEADERS = (
    "Authorization, Cache-Control, Content-Type, Depth, If-Match, If-Modified-Since, If-None-Match, User-Agent, "
    "X-Auth-Token, X-File-Name, X-File-Size, X-Http-Method-Override, X-Kazoo-Cluster-ID, X-Pretty-Print, X-Request-ID, "
    "X-Requested-With"
)
RESPONSE_HEADERS = "Allow, Content-Disposition, Content-Type, ETag, Location, Retry-After, X-Auth-Token, X-Request-ID"
PREFLIGHT_HEADER = "Access-Control-Request-Method"
DAY_SECONDS = 86400


def init_app(app: Flask, *, origins: Collection[str]) -> None:
    """Say in every answer, failures too, which origins may read it.

    Args:
        app: the application; its OPTIONS name the methods of a path in ``Allow``.
        origins: as a browser writes them, ``https://apps.example.com``; ``*``: every one.
    """
    if not origins:
        return

    def answer_preflight() -> Response | None:
        # Else a browser would keep the 404 of an unknown path from the app, which then knows of no answer at all.
        if request.url_rule is not None or request.method != "OPTIONS" or PREFLIGHT_HEADER not in request.headers:
            return None
        response = Response()
        del response.headers["Content-Type"]  # of a body that there is none of
        return response

    def permit(response: Response) -> Response:
        origin = request.headers.get("Origin")
        if "*" not in origins:
            response.vary.add("Origin")  # a cache must not give one origin the answer to another
        if not origin or not ("*" in origins or origin in origins):
            return response
        response.headers["Access-Control-Allow-Origin"] = "*" if "*" in origins else origin
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "OPTIONS")
            response.headers["Access-Control-Allow-Headers"] = REQUEST_HEADERS
            response.headers["Access-Control-Max-Age"] = str(DAY_SECONDS)
        else:
            response.headers["Access-Control-Expose-Headers"] = RESPONSE_HEADERS
        return response

    app.before_request(answer_preflight)
    app.after_request(permit)
