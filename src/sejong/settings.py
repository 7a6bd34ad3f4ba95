"""Every switch of the city, each with its meaning. Read from `SEJONG_*` environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from sejong.kernel.errors import CityError


class BadSettings(CityError):
    """A switch of this installation stands where it cannot stand."""

    ko = "설정을 읽을 수 없습니다: {faults}. 뜻은 docs/settings.md에 있습니다."
    en = "The settings cannot be read: {faults}. Their meaning is in docs/settings.md."


class Settings(BaseSettings):
    """The settings of one installation. `docs/settings.md` is made from this class; CI fails when it is stale."""

    model_config = SettingsConfigDict(env_prefix="SEJONG_", extra="ignore", frozen=True)

    def __init__(self, **values: Any) -> None:
        """Read the environment; `values` come before it. Raises BadSettings, which never shows the values."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            faults = [f"SEJONG_{'.'.join(map(str, fault['loc'])).upper()}: {fault['msg']}" for fault in error.errors()]
            raise BadSettings(faults="; ".join(faults)) from None

    city: str = Field(default="sejong", description="City pack: a name under `cities/` or a path to a pack folder.")
    state: Path = Field(default=Path("state"), description="Folder for everything that must survive a restart.")
    database_url: str | None = Field(
        default=None, description="PostgreSQL DSN. Unset: `sejong up` starts the embedded database in the state folder."
    )
    pg_bin: Path | None = Field(default=None, description="Folder with other PostgreSQL binaries (initdb, postgres).")
    mqtt_url: str | None = Field(
        default=None, description="`mqtt://user:password@host:port` of the broker. Unset: `sejong up` starts its own."
    )
    public_url: str = Field(default="http://localhost:8000", description="Address residents use, no slash at the end.")
    host: str = Field(default="127.0.0.1", description="Address the web server listens on.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port the web server listens on.")
    web_workers: int = Field(default=1, ge=1, le=64, description="Web processes of `sejong web`.")
    clock_speed: float = Field(
        default=1.0,
        ge=1,
        le=600,
        description="How many times faster than real time the city's clock runs (for demonstrations).",
    )
    clock_start: AwareDatetime | None = Field(
        default=None, description="Real moment from which a faster city clock is counted; every process needs the same."
    )
    database_pool: int = Field(default=10, ge=6, le=100, description="Database connections per process at most.")
    language: Literal["ko", "en"] = Field(default="ko", description="Language shown when a visitor states none.")
    log_style: Literal["text", "json"] = Field(default="text", description="Log lines for people or for machines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    max_body_mb: int = Field(default=32, ge=1, le=1024, description="Largest request body accepted, in MiB.")
    entity_cache: int = Field(
        default=5000,
        ge=0,
        le=1_000_000,
        description="Entities per web process whose answer is kept ready until they change (about 3 kB each).",
    )
    context_egress: Literal["deny", "public", "any"] = Field(
        default="any",
        description="Where @context documents may be fetched from: nowhere, public addresses, or also private ones.",
    )
    context_timeout: float = Field(default=5.0, gt=0, description="Seconds to wait for a remote @context.")
    notification_egress: Literal["deny", "public", "any"] = Field(
        default="any",
        description="Where notifications may be sent: nowhere, to public addresses, or also to private ones.",
    )
    notification_timeout: float = Field(
        default=5.0,
        gt=0,
        le=300,
        description="Seconds a receiver has for a notification if it states no `timeout`.",
    )
    notification_patience: float = Field(
        default=3600.0,
        gt=0,
        description="Seconds (of city time) after which a notification that cannot be delivered is given up.",
    )
    source_egress: Literal["deny", "public", "any"] = Field(
        default="any",
        description="Which context sources and receivers of notifications about them are called: none, those at public "
        "addresses, or also those at private ones. A hub open to the internet sets `public`.",
    )
    source_timeout: float = Field(
        default=5.0, gt=0, description="Seconds to wait for a context source whose registration names no timeout."
    )
    source_alias: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._~:\[\]-]*$",
        description="Name other hubs know this one by (`Via`, `contextSourceAlias`). Empty: host and port of the "
        "public address. Every hub of a federation needs its own.",
    )
    temporal_max_instances: int = Field(
        default=10_000, ge=1, description="Most attribute instances in one temporal answer; more gives 206."
    )
    entity_map_lifetime: int = Field(
        default=86_400, ge=1, description="Longest life of an entity map in seconds; a longer one asked for is cut."
    )
    entity_map_size: int = Field(
        default=100_000, ge=1, le=10_000_000, description="Most entities in one entity map; more gives 403."
    )
    snapshot_lifetime: int = Field(
        default=2_592_000,
        ge=1,
        description="Longest life of a snapshot in seconds, also of one that states none; a longer one is cut.",
    )
    snapshots_most: int = Field(
        default=100, ge=0, le=10_000, description="Most snapshots of one tenant at a time; one more gives 403."
    )
    device_rate: float = Field(default=500.0, gt=0, description="Readings a second one device key may send, sustained.")
    device_burst: float = Field(default=5000.0, gt=0, description="Readings one device key may send at once.")
    anonymous_rate: float = Field(
        default=1000.0, gt=0, description="API requests a second one address may send without a key, sustained."
    )
    anonymous_burst: float = Field(default=20000.0, ge=1, description="API requests one address may send at once.")
    key_rate: float = Field(default=2000.0, gt=0, description="API requests a second one key may send, sustained.")
    key_burst: float = Field(default=40000.0, ge=1, description="API requests one key may send at once.")
    key_daily: int = Field(default=10_000_000, ge=1, description="API requests one key may send on one day (UTC).")
    proxies: str = Field(
        default="127.0.0.1,::1",
        description="Addresses of reverse proxies, whose X-Forwarded-For is believed; requests that come straight "
        "from them (this machine itself, by default) are not limited.",
    )
    ingest_backlog: int = Field(
        default=50_000, ge=100, description="Readings waiting for the database before HTTP ingest answers 429."
    )


def settings_page() -> str:
    """The Markdown of `docs/settings.md`."""
    lines = [
        "# 설정 · Settings",
        "",
        "`src/sejong/settings.py`에서 만들어집니다 · made from `src/sejong/settings.py` (`make docs`).",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = "unset" if field.default is None else f"`{field.default}`"
        lines.append(f"| `SEJONG_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"
