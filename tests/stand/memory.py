"""What a Kamailio holds of an AoR in its memory, as `ul.lookup` answers it."""

from typing import Any

from kamailio.rpc import JsonRpcClient


def contacts(client: JsonRpcClient, aor: str) -> list[dict[str, Any]]:
    """Return the fields of each binding by usrloc's names, such as `Expires` and `Received`."""
    answer: Any = client.call("ul.lookup", "location", aor)
    return [each["Contact"] for each in answer["Contacts"]]
