"""Settings for reaching Kamailio."""

import pytest
from pydantic import ValidationError

from kamailio.settings import KamailioSettings


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables with the prefix REGISTRATIONS_ set the URL and the timeout."""
    monkeypatch.setenv("REGISTRATIONS_KAMAILIO_RPC", "unix:/run/kamailio/kamailio_rpc.sock")
    monkeypatch.setenv("REGISTRATIONS_KAMAILIO_TIMEOUT", "1.5")
    settings = KamailioSettings()
    assert settings.kamailio_rpc == "unix:/run/kamailio/kamailio_rpc.sock"
    assert settings.kamailio_timeout == 1.5


@pytest.mark.parametrize(
    "values",
    [
        {"kamailio_rpc": "tcp:127.0.0.1"},
        {"kamailio_rpc": ""},
        {"kamailio_rpc": "1=http://127.0.0.1:1/RPC,http://127.0.0.1:2/RPC"},
        {"kamailio_rpc": "1=http://127.0.0.1:1/RPC,1=http://127.0.0.1:2/RPC"},
        {"kamailio_rpc": "one=http://127.0.0.1:1/RPC"},
        {"kamailio_edges": "10.0.0.1:5060"},
        {"kamailio_timeout": 0},
        {"kamailio_db_mode": "0"},
        {"kamailio_db_mode": "write-back"},
    ],
)
def test_nonsense_is_refused(values: dict[str, str]) -> None:
    """A useless URL or a timeout of zero is refused when it is read, not at the first call."""
    with pytest.raises(ValidationError):
        KamailioSettings.model_validate(values)


def test_every_field_is_described() -> None:
    """The settings table consists of these descriptions."""
    assert all(field.description for field in KamailioSettings.model_fields.values())
