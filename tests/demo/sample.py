"""The sample directory in directory.json: four accounts with their owners and devices."""

import json
from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path(__file__).with_name("directory.json")


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account of the sample."""

    id: str
    name: str
    realm: str


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The accounts by role, the ID of a device, and the devices' passwords by username and realm."""

    admin: Account
    reseller: Account
    child: Account
    other_child: Account
    device_with_two_phones: str
    owners: int
    passwords: dict[tuple[str, str], str]

    @property
    def accounts(self) -> tuple[Account, ...]:
        """All accounts, from the root of the tree downwards."""
        return self.admin, self.reseller, self.child, self.other_child


def read_sample() -> Sample:
    """Read directory.json. Its accounts must be in the order admin, reseller, child, other child."""
    content = json.loads(DIRECTORY.read_text(encoding="utf-8"))
    accounts = [Account(id=each["id"], name=each["name"], realm=each["realm"]) for each in content["accounts"]]
    realms = {account.id: account.realm for account in accounts}
    admin, reseller, child, other_child = accounts
    return Sample(
        admin=admin,
        reseller=reseller,
        child=child,
        other_child=other_child,
        device_with_two_phones=next(each["id"] for each in content["devices"] if each["sip_username"] == "marta"),
        owners=len(content["owners"]),
        passwords={(each["sip_username"], realms[each["account_id"]]): each["password"] for each in content["devices"]},
    )
