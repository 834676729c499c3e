"""How the API and the worker log: one event a line, as logfmt or JSON, with the ID of the HTTP request."""

import logging
from contextvars import ContextVar
from typing import Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

# ID of the current HTTP request. A thread that works for the request copies its context.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

FORMATTERS: dict[str, dict[str, Any]] = {
    "logfmt": {"()": "logfmter.Logfmter"},
    "json": {
        "()": "pythonjsonlogger.json.JsonFormatter",
        "fmt": "{levelname}{name}{message}",
        "style": "{",
        "rename_fields": {"levelname": "level", "name": "logger"},
        "timestamp": True,
        "json_ensure_ascii": False,
    },
}


class LogSettings(BaseSettings):
    """Read from the environment, each with the prefix ``REGISTRATIONS_``."""

    model_config = SettingsConfigDict(env_prefix="REGISTRATIONS_")

    log_format: Literal["logfmt", "json"] = Field(
        "logfmt", description="format of the logs of API and worker: `logfmt`, or `json` with one object a line"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="lowest level that is logged; `debug` includes each call to Kamailio"
    )

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _in_lower_case(cls, word: object) -> object:
        return word.lower() if isinstance(word, str) else word


class RequestId(logging.Filter):
    """Adds the ID of the current HTTP request to records that do not name one."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        if (current := request_id.get()) is not None and not hasattr(record, "request_id"):
            record.request_id = current
        return True


def log_configuration(settings: LogSettings) -> dict[str, Any]:
    """The configuration for `logging.config.dictConfig`, and for gunicorn's ``logconfig_dict``."""
    level = settings.log_level.upper()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": FORMATTERS[settings.log_format]},
        "filters": {"request_id": {"()": RequestId}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]}},
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {
            "gunicorn.error": {"level": level, "handlers": [], "propagate": True},
            # Its lines contain the query, and so tokens. The application logs each request itself.
            "gunicorn.access": {"level": "WARNING", "handlers": [], "propagate": True},
            "apscheduler": {"level": "ERROR"},  # it warns if a run is skipped because the last one still runs
        },
    }
