"""Settings of the HTTP server."""

import re
import socket
from functools import cached_property
from typing import Literal, Self

from limits.errors import ConfigurationError
from limits.storage import storage_from_string
from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class ApiSettings(BaseSettings):
    """Read from the environment, each with the prefix ``REGISTRATIONS_``."""

    model_config = SettingsConfigDict(env_prefix="REGISTRATIONS_")

    api_bind: str = Field(
        "127.0.0.1:8000", description="address and port that `registrations-api serve` listens on, or `unix:/path`"
    )
    api_workers: int = Field(2, ge=1, le=64, description="processes of the server")
    api_threads: int = Field(8, ge=1, le=256, description="requests that one process answers at a time")
    api_queue_timeout: float = Field(
        10.0, gt=0, le=300, description="seconds that a request may wait for a thread before it is answered 503"
    )
    api_flush_budget: float = Field(
        20.0,
        gt=0,
        le=300,
        description="seconds that a DELETE or a sync may spend on calls to Kamailio; the worker finishes a flush",
    )
    api_flush_check_sync: Literal["username", "always", "never"] = Field(
        "username",
        description="which flushes send phones a NOTIFY check-sync: `username` (of one username, as Kazoo), `always`, "
        "`never`; a request can override it by `?check_sync=`",
    )
    api_sync_reboot: bool = Field(
        False,
        description="`true`: a sync also asks the phone to reboot; a request can override it by `?reboot=`",
    )
    api_page_size: int = Field(
        50, ge=1, description="registrations in a page if a client asks for pages without `page_size`"
    )
    api_max_page_size: int = Field(1000, ge=1, description="largest `page_size` that a client may ask for")
    api_max_body: int = Field(65536, ge=1024, description="bytes of the largest request body that is read")
    api_request_timeout: float = Field(
        10.0,
        ge=1,
        le=300,
        description="seconds for a client to send a request, and to read some more of the response",
    )
    api_keepalive: int = Field(
        75,
        ge=1,
        le=3600,
        description="seconds that an idle connection stays open; more than a reverse proxy keeps it (nginx: 60)",
    )
    api_token_idle_lifetime: int = Field(
        3600, ge=1, le=31536000, description="seconds without use after which a token of `PUT /v2/api_auth` expires"
    )
    api_rate_burst: int = Field(
        100,
        ge=0,
        le=1000000,
        description="requests that an address may make to an account at once; `api_auth` counts as 35; 0: no limit",
    )
    api_rate_refill: float = Field(10.0, gt=0, le=1000000, description="how many of these come back per second")
    api_rate_storage: str = Field(
        "memory://",
        description="where they are counted, a URI of the library limits; in memory, each process counts on its own",
    )
    api_proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="HTTP proxies in front of the API; the client's address is then taken from their `X-Forwarded-For`",
    )
    api_cors_origins: str = Field(
        "*",
        description="origins whose web apps may use the API, `https://apps.example.com,...`; `*`: all; empty: none",
    )
    api_metrics_listen: str | None = Field(
        None,
        description="address and port, such as 127.0.0.1:9469, or `unix:/path`, where Prometheus reads metrics; that "
        "needs no token; unset: nowhere",
    )
    api_node: str = Field(
        default_factory=socket.gethostname, description="`node` in the envelope; unset: the host's name"
    )

    @field_validator("api_bind", "api_metrics_listen")
    @classmethod
    def _is_an_address(cls, bind: str | None, info: ValidationInfo) -> str | None:
        if bind is None or (not bind and info.field_name == "api_metrics_listen"):
            return None
        host, _, port = bind.rpartition(":")
        is_host = re.fullmatch(r"\[[0-9a-fA-F:.]+\]|[^][:]+", host)
        if not bind.startswith("unix:/") and not (is_host and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError(f"{bind!r} is neither address:port nor unix:/path")
        return bind

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        """The server tells a scrape from an API request by the port."""
        if self.api_metrics_listen and self.api_metrics_listen.rpartition(":")[2] == self.api_bind.rpartition(":")[2]:
            raise ValueError("REGISTRATIONS_API_METRICS_LISTEN must have another port than REGISTRATIONS_API_BIND")
        return self

    @cached_property
    def allowed_origins(self) -> frozenset[str]:
        """The parts of ``api_cors_origins``."""
        return frozenset(filter(None, (origin.strip() for origin in self.api_cors_origins.split(","))))

    @field_validator("api_cors_origins")
    @classmethod
    def _origins_are_such(cls, origins: str) -> str:
        for origin in filter(None, (origin.strip() for origin in origins.split(","))):
            if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s]+", origin):
                raise ValueError(f"{origin!r} is not an origin such as https://apps.example.com")
        return origins

    @field_validator("api_rate_storage")
    @classmethod
    def _storage_is_known(cls, uri: str) -> str:
        try:
            if not uri.startswith("memory:"):  # which would start a thread
                storage_from_string(uri)  # connects to nothing
        except ConfigurationError:  # its text contains the URI and so a password
            raise ValueError("the library limits knows no such storage, or lacks the package for it") from None
        return uri
