"""Settings of the worker: how often its jobs run, and how much each takes at a time."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class SyncSettings(BaseSettings):
    """Read from the environment, each with the prefix ``REGISTRATIONS_``."""

    model_config = SettingsConfigDict(env_prefix="REGISTRATIONS_")

    sync_enrich_interval: float = Field(0.5, ge=0.1, le=3600, description="seconds between looks for new rows")
    sync_reconcile_interval: float = Field(
        60.0, ge=1, le=86400, description="seconds between comparisons of all rows with the directory; see Performance"
    )
    sync_expire_interval: float = Field(
        300.0, ge=1, le=86400, description="seconds between looks for rows that no Kamailio will ever clean"
    )
    sync_expire_grace: float = Field(
        3600.0, ge=60, le=31536000, description="seconds after its expiry that such a row is kept"
    )
    sync_flush_interval: float = Field(
        1.0, ge=0.1, le=3600, description="seconds between looks for flushes that a node has not confirmed"
    )
    sync_flush_rate: int = Field(
        500, ge=1, le=100000, description="bindings a second at the most that the worker asks one node about"
    )
    sync_flush_budget: float = Field(
        10.0, gt=0, le=300, description="seconds that the worker's calls to one node may take together"
    )
    sync_flush_longest_pause: float = Field(
        15.0, ge=1, le=3600, description="seconds to which the pauses grow that a node without an answer is given"
    )
    sync_flush_grace: float = Field(
        120.0,
        ge=0,
        le=86400,
        description="seconds that the row of a flushed binding is left to Kamailio: in db_mode 2, which writes late, "
        "and if `server_id` is none of those in `REGISTRATIONS_KAMAILIO_RPC`",
    )
    sync_flush_keep: float = Field(
        2592000.0, ge=0, le=315360000, description="seconds that a finished flush can be looked at"
    )
    sync_kazoo_url: str | None = Field(
        None,
        description="Crossbar of a Kazoo whose accounts, users and devices the worker imports by itself, as "
        "`registrations-sync import-kazoo URL --replace` does; needs the role `registrations_import`",
    )
    sync_kazoo_interval: float = Field(3600.0, ge=60, le=604800, description="seconds between two of these imports")
    sync_statement_timeout: float = Field(
        60.0, gt=0, le=3600, description="seconds after which PostgreSQL cancels a statement of the worker"
    )
    sync_lead_timeout: float = Field(
        30.0,
        ge=5,
        le=3600,
        description="seconds after which a worker that leads, but is frozen or cut off, loses the lead to another",
    )
    sync_metrics_listen: str | None = Field(
        None,
        pattern=r"^$|^.+:\d{1,5}$",
        description="address and port where the worker shows metrics to Prometheus, such as 127.0.0.1:9470; anybody "
        "who reaches it may read them; unset: nowhere",
    )
    sync_metrics_interval: float = Field(
        60.0, ge=1, le=86400, description="seconds between counts of all registrations for the metrics"
    )
    sync_metrics_accounts: int = Field(
        20, ge=0, le=1000, description="accounts that the metrics count each; the smaller ones are counted together"
    )
    sync_batch: int = Field(
        200,
        ge=1,
        le=10000,
        description="rows that are locked at a time at the most; fewer where they take more than a millisecond or two",
    )
