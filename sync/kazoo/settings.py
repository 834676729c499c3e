"""Settings of the import from Kazoo."""

import os
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from sql.errors import KazooRefused


def _state_directory() -> Path:
    """Systemd's for this unit, or the user's (XDG Base Directory Specification)."""
    given = os.environ.get("STATE_DIRECTORY")
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(given) if given else Path(home) / "kamailio-registrations"


class KazooSettings(BaseSettings):
    """Read from the environment, each with the prefix ``REGISTRATIONS_``."""

    model_config = SettingsConfigDict(env_prefix="REGISTRATIONS_")

    kazoo_api_key: SecretStr | None = Field(None, description="API key of the Kazoo account whose tree is imported")
    kazoo_api_key_file: Path | None = Field(None, description="the file that has it, instead")
    kazoo_rate: float = Field(8.0, gt=0, le=1000, description="requests a second to Kazoo; Crossbar stands ten")
    kazoo_timeout: float = Field(30.0, gt=0, le=600, description="seconds for Kazoo's answer to one of them, all of it")
    kazoo_plain_http: bool = Field(
        False,
        description="`true`: a Kazoo on another machine may be asked by http:, too; who sees that network reads the "
        "key and every password",
    )
    kazoo_max_rows: int = Field(
        1000000, ge=1, le=100000000, description="accounts, users and devices that one import may list"
    )
    kazoo_max_duration: float = Field(
        172800.0, gt=0, le=2592000, description="seconds that one import may ask Kazoo; the next one goes on from there"
    )
    kazoo_directory: Path = Field(
        default_factory=_state_directory,
        description="where what was pulled is kept until it is imported; unset: systemd's STATE_DIRECTORY, or "
        "`~/.local/state/kamailio-registrations`",
    )

    def api_key(self) -> str:
        """The key, which neither arguments nor messages ever hold.

        Raises:
            KazooRefused: there is none, or its file cannot be read.
        """
        if self.kazoo_api_key is not None:
            return self.kazoo_api_key.get_secret_value()
        if self.kazoo_api_key_file is None:
            raise KazooRefused("set REGISTRATIONS_KAZOO_API_KEY_FILE, or REGISTRATIONS_KAZOO_API_KEY")
        try:
            return self.kazoo_api_key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise KazooRefused(f"REGISTRATIONS_KAZOO_API_KEY_FILE: {error}") from error
