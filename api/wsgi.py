"""For a WSGI server of the operator's; settings come from the environment.

``gunicorn --worker-class api.server.worker.EnvelopeWorker api.wsgi:app``
"""

from api.app import create_app
from api.settings import ApiSettings
from kamailio.settings import KamailioSettings
from sql.settings import DatabaseSettings

app = create_app(ApiSettings(), DatabaseSettings(), KamailioSettings())
