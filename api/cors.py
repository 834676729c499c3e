"""Lets web apps of other origins, such as monster-ui, use the API (Fetch standard, CORS; Crossbar: api_util.erl).

The app itself sends the token, never the browser. So credentials in the sense of CORS are never allowed.
"""

from flask import Response, request

from api.extensions import settings

# Crossbar's, and the other headers that this API reads.
REQUEST_HEADERS = (
    "Authorization, Cache-Control, Content-Type, Depth, If-Match, If-Modified-Since, If-None-Match, User-Agent, "
    "X-Auth-Token, X-File-Name, X-File-Size, X-Http-Method-Override, X-Kazoo-Cluster-ID, X-Pretty-Print, X-Request-ID, "
    "X-Requested-With"
)
RESPONSE_HEADERS = "Allow, Content-Disposition, Content-Type, ETag, Location, Retry-After, X-Auth-Token, X-Request-ID"
PREFLIGHT_HEADER = "Access-Control-Request-Method"
# Of any path, so that the app sees a 404 or 405 itself.
METHODS = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
DAY_SECONDS = 86400


def answer_preflight() -> Response | None:
    """Answer a preflight of an unknown path: a browser would keep the 404 from the web app."""
    if (
        not settings().allowed_origins
        or request.url_rule is not None
        or request.method != "OPTIONS"
        or PREFLIGHT_HEADER not in request.headers
    ):
        return None
    response = Response()
    del response.headers["Content-Type"]  # of a body that there is none of
    return response


def permit(response: Response) -> Response:
    """Say in every response, errors too, which origin may read it."""
    origins, origin = settings().allowed_origins, request.headers.get("Origin")
    if not origins:
        return response
    if "*" not in origins:
        response.vary.add("Origin")  # a cache must not give one origin the answer to another
    if not origin or not ("*" in origins or origin in origins):
        return response
    response.headers["Access-Control-Allow-Origin"] = "*" if "*" in origins else origin
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = METHODS
        response.headers["Access-Control-Allow-Headers"] = REQUEST_HEADERS
        response.headers["Access-Control-Max-Age"] = str(DAY_SECONDS)
    else:
        response.headers["Access-Control-Expose-Headers"] = RESPONSE_HEADERS
    return response
