"""Settings for reaching Kamailio."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from kamailio.edges import Edges
from kamailio.transports.by_url import transport_for

LOCAL_NODE = 0


class KamailioSettings(BaseSettings):
    """Read from the environment; keyword arguments win."""

    model_config = SettingsConfigDict(env_prefix="REGISTRATIONS_", frozen=True)

    kamailio_rpc: str = Field(
        default="http://127.0.0.1:5097/RPC",
        description="where Kamailio serves JSON-RPC: `http://host:port/RPC`; `unix:/path` or `udp:host:port` for its "
        "datagram socket; `fifo:/path`; `kamctl:`; of several nodes `server_id=URL,...`",
    )
    kamailio_timeout: float = Field(default=3.0, gt=0, description="seconds to wait for Kamailio's answer to one call")
    kamailio_db_mode: Annotated[int | None, BeforeValidator(lambda mode: None if mode == "" else mode)] = Field(
        default=None,
        ge=1,
        le=3,
        description="usrloc's db_mode; unset: each node is asked, which works where it loads registrations.cfg",
    )
    kamailio_replicated: bool = Field(
        default=False, description="whether the nodes replicate their bindings (DMQ): a flush then goes to all of them"
    )

    kamailio_edges: str = Field(
        default="",
        description="hosts of your edge proxies, `10.0.0.5,2001:db8::/32,edge.example.com`: a NOTIFY goes "
        "through these, or else only to the host that the REGISTER came from; `*`: through any host",
    )

    @field_validator("kamailio_edges")
    @classmethod
    def _edges_are_hosts(cls, text: str) -> str:
        Edges.parse(text)
        return text

    @field_validator("kamailio_rpc")
    @classmethod
    def _known_transports(cls, text: str) -> str:
        parse_rpc(text)
        return text


def parse_rpc(text: str) -> dict[int, str]:
    """Return the URLs of the nodes by server_id. A single URL without server_id is node 0, whatever its rows say.

    Raises:
        ValueError: a part is not server_id=URL, a server_id is there twice, or no transport knows the URL.
    """
    nodes: dict[int, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        numbered = re.fullmatch(r"([0-9]+)=(.+)", part)
        if numbered is None and "," in text.strip(", "):
            raise ValueError(f"{part!r} is not server_id=URL, as each of several nodes must be")
        server_id, url = (int(numbered[1]), numbered[2]) if numbered else (LOCAL_NODE, part)
        if server_id in nodes:
            raise ValueError(f"server_id {server_id} is there twice")
        transport_for(url)  # connects only when used
        nodes[server_id] = url
    if not nodes:
        raise ValueError("no node is given")
    return nodes
