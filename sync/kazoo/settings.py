"""Settings of the import from Kazoo."""

import os
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from sync.kazoo.errors import KazooRefused


def _state_directory() -> Path:
    """The unit's, from systemd, or the user's (XDG Base Directory Specification)."""
    given = os.environ.get("STATE_DIRECTORY")
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(given) if given else Path(home) / "kamailio-registrations"


class KazooSettings(BaseSettings):
    """Read from the environment, each with the prefix ``REGISTRATIONS_``."""

    model_config = SettingsConfigDict(env_prefix="REGISTRATIONS_")

    kazoo_api_key: SecretStr | None = Field(
        None, description="API key of the Kazoo account to import, with all accounts below it"
    )
    kazoo_api_key_file: Path | None = Field(
        None, description="file that holds the API key; use it instead of the variable"
    )
    kazoo_rate: float = Field(8.0, gt=0, le=1000, description="requests per second to Kazoo; Crossbar allows ten")
    kazoo_timeout: float = Field(30.0, gt=0, le=600, description="timeout of one complete answer, in seconds")
    kazoo_plain_http: bool = Field(
        False,
        description="`true` allows http: to a Kazoo on another machine; anyone on that network can then read the key "
        "and every password",
    )
    kazoo_max_rows: int = Field(
        1000000, ge=1, le=100000000, description="maximum number of accounts, users and devices in one import"
    )
    kazoo_max_duration: float = Field(
        172800.0, gt=0, le=2592000, description="maximum duration of one import, in seconds; the next one resumes it"
    )
    kazoo_directory: Path = Field(
        default_factory=_state_directory,
        description="directory for files that wait for the import; by default systemd's STATE_DIRECTORY, or "
        "`~/.local/state/kamailio-registrations`",
    )

    def api_key(self) -> str:
        """The key. It appears in no argument and no message.

        Raises:
            KazooRefused: no key is set, or its file cannot be read.
        """
        if self.kazoo_api_key is not None:
            return self.kazoo_api_key.get_secret_value()
        if self.kazoo_api_key_file is None:
            raise KazooRefused("set REGISTRATIONS_KAZOO_API_KEY_FILE, or REGISTRATIONS_KAZOO_API_KEY")
        try:
            return self.kazoo_api_key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise KazooRefused(f"REGISTRATIONS_KAZOO_API_KEY_FILE: {error}") from error
