"""Settings of the worker: how often its jobs run, and how much each does at a time."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class SyncSettings(BaseSettings):
    """Read from the environment, each with the prefix ``REGISTRATIONS_``."""

    model_config = SettingsConfigDict(env_prefix="REGISTRATIONS_")

    sync_enrich_interval: float = Field(
        0.5, ge=0.1, le=3600, description="seconds between two runs of the job that enriches new rows"
    )
    sync_reconcile_interval: float = Field(
        60.0,
        ge=1,
        le=86400,
        description="seconds between comparisons of all rows with the directory; long ones wait for a change",
    )
    sync_expire_interval: float = Field(
        300.0,
        ge=1,
        le=86400,
        description="seconds between two runs of the job that deletes expired rows, tokens and flushes",
    )
    sync_expire_grace: float = Field(
        3600.0,
        ge=60,
        le=31536000,
        description="seconds that a row is kept after it expired, in case Kamailio still cleans it",
    )
    sync_flush_interval: float = Field(
        1.0, ge=0.1, le=3600, description="seconds between two runs of the job that retries flushes, for each node"
    )
    sync_flush_rate: int = Field(500, ge=1, le=100000, description="maximum of flushed bindings a second for one node")
    sync_flush_budget: float = Field(10.0, gt=0, le=300, description="seconds for all calls to one node in one run")
    sync_flush_longest_pause: float = Field(
        15.0, ge=1, le=3600, description="maximum back-off for an unreachable node, in seconds"
    )
    sync_flush_grace: float = Field(
        120.0,
        ge=0,
        le=86400,
        description="seconds that Kamailio has to remove the row of a flushed binding before the worker does: in "
        "db_mode 2, which writes late, and if `REGISTRATIONS_KAMAILIO_RPC` does not have the row's `server_id`",
    )
    sync_flush_keep: float = Field(
        2592000.0, ge=0, le=315360000, description="seconds that the record of a finished flush is kept"
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
        description="seconds without a sign of life after which the leader loses leadership to another worker",
    )
    sync_metrics_listen: str | None = Field(
        None,
        pattern=r"^$|^.+:\d{1,5}$",
        description="address and port of the worker's metrics for Prometheus, such as 127.0.0.1:9470; anybody who "
        "reaches it can read them; unset: none",
    )
    sync_metrics_interval: float = Field(
        60.0, ge=1, le=86400, description="seconds between counts of all registrations, for the metrics"
    )
    sync_metrics_accounts: int = Field(
        20,
        ge=0,
        le=1000,
        description="number of accounts with metrics of their own; the smaller ones are counted together",
    )
    sync_batch: int = Field(
        200,
        ge=1,
        le=10000,
        description="maximum of rows that are locked at a time; fewer if they take longer than a millisecond or two",
    )
