"""Settings of the HTTP server."""

import socket

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class ApiSettings(BaseSettings):
    """Read from the environment, each with the prefix ``REGISTRATIONS_``."""

    model_config = SettingsConfigDict(env_prefix="REGISTRATIONS_")

    api_bind: str = Field(
        "127.0.0.1:8000", description="address and port that `registrations-api serve` listens on, or `unix:/path`"
    )
    api_workers: int = Field(2, ge=1, le=64, description="processes of the server")
    api_threads: int = Field(8, ge=1, le=256, description="requests that one process works on at a time")
    api_flush_budget: float = Field(
        20.0,
        gt=0,
        le=300,
        description="seconds that a DELETE or a sync may spend on calls to Kamailio before it answers 503",
    )
    api_sync_reboot: bool = Field(
        False,
        description="`true`: a device's sync asks the phone to reboot, too, unless the request says `?reboot=false`",
    )
    api_page_size: int = Field(50, ge=1, description="registrations in a page when a client says only `paginate=true`")
    api_max_page_size: int = Field(1000, ge=1, description="largest `page_size` that a client may ask for")
    api_max_body: int = Field(65536, ge=1024, description="bytes of the largest request body that is read")
    api_node: str = Field(
        default_factory=socket.gethostname, description="`node` in the envelope; unset: the host's name"
    )

    @field_validator("api_bind")
    @classmethod
    def _is_an_address(cls, bind: str) -> str:
        host, _, port = bind.rpartition(":")
        if not bind.startswith("unix:/") and not (host and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError(f"{bind!r} is neither address:port nor unix:/path")
        return bind
