"""The table of settings at the end of each room's README: `make settings` writes it anew from the settings classes."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings

from api.settings import ApiSettings
from kamailio.settings import KamailioSettings
from sql.console.logs import LogSettings
from sql.settings import DatabaseSettings
from sync.kazoo.settings import KazooSettings
from sync.settings import SyncSettings

ROOT = Path(__file__).parents[2]
SETTINGS: dict[str, tuple[type[BaseSettings], ...]] = {
    "api": (ApiSettings,),
    "kamailio": (KamailioSettings,),
    "sql": (DatabaseSettings, LogSettings),
    "sync": (SyncSettings, KazooSettings),
}
HEAD = "| variable | default | meaning |\n"


def settings_table(room: str) -> str:
    """The table of a room's settings, as the code has them."""
    lines = ["|---|---|---|"]
    for settings in SETTINGS[room]:
        for name, field in settings.model_fields.items():
            default = (
                "required"
                if field.is_required()
                else ""
                if field.default_factory or field.default is None
                else str(field.default)
            )
            lines.append(f"| `REGISTRATIONS_{name.upper()}` | {default} | {field.description} |")
    return HEAD + "\n".join(lines) + "\n"


def split_readme(room: str) -> tuple[str, str]:
    """A room's README, up to its table of settings and from there on."""
    before, head, rows = (ROOT / room / "README.md").read_text(encoding="utf-8").rpartition(HEAD)
    return before, head + rows


if __name__ == "__main__":
    for each in SETTINGS:
        text = split_readme(each)[0] + settings_table(each)
        (ROOT / each / "README.md").write_text(text, encoding="utf-8")
