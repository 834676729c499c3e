"""For a WSGI server of the operator's: ``gunicorn api.wsgi:app``. Settings come from the environment."""

from api.app import create_app
from api.settings import ApiSettings
from kamailio.settings import KamailioSettings
from sql.settings import DatabaseSettings

app = create_app(ApiSettings(), DatabaseSettings(), KamailioSettings())
