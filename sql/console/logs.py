"""How API and worker log: one event a line, as logfmt or as JSON, each line of a request with the request's ID."""

import logging
from contextvars import ContextVar
from typing import Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

# Of the HTTP request that is worked on; a thread that is started for it takes it along with its context.
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
        "logfmt", description="`logfmt`, or `json`: one object a line, of API and worker"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="what is logged; `debug` has each call to Kamailio"
    )

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _in_lower_case(cls, word: object) -> object:
        return word.lower() if isinstance(word, str) else word


class RequestId(logging.Filter):
    """Adds the ID of the request that is worked on, where a record does not name one itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        if (current := request_id.get()) is not None and not hasattr(record, "request_id"):
            record.request_id = current
        return True


def log_configuration(settings: LogSettings) -> dict[str, Any]:
    """Return what `logging.config.dictConfig` takes, and gunicorn as its ``logconfig_dict``."""
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
            # Its lines would hold the query, and so tokens; the application logs each request itself.
            "gunicorn.access": {"level": "WARNING", "handlers": [], "propagate": True},
            "apscheduler": {"level": "ERROR"},  # a job that still runs is no news
        },
    }
