"""What an operator can set about reaching the proxy."""

from __future__ import annotations

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from kamailio.transports import transport_for


class KamailioSettings(BaseSettings):
    """Read from the environment when constructed; keyword arguments win."""

    model_config = SettingsConfigDict(env_prefix="REGISTRATIONS_", frozen=True)

    kamailio_rpc: str = Field(
        default="http://127.0.0.1:5097/RPC",
        description="where Kamailio serves JSON-RPC: `http://host:port/RPC`, or `unix:/path` for its datagram socket",
    )
    kamailio_timeout: float = Field(default=3.0, gt=0, description="seconds to wait for Kamailio's answer to one call")

    @field_validator("kamailio_rpc")
    @classmethod
    def _known_transport(cls, url: str) -> str:
        transport_for(url)  # connects only when used
        return url
