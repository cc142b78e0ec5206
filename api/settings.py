"""Settings, the same for API, worker and reaper.

They are read from environment variables `RDRKD_<FIELD>`, or from files `rdrkd_<field>` in the folder
`RDRKD_SECRETS_DIR`, as container secrets are mounted.
"""

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from limits import parse_many
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from rdrkd.pretrained import SOURCE

GIB = 2**30


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _with_driver(url: str) -> str:
    """Add the installed driver to the usual forms `postgres://` and `postgresql://`."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if separator and scheme in ("postgres", "postgresql") else url


def _bucket(url: str | None) -> str | None:
    """Reject an invalid bucket URL.

    Raises:
        ValueError: it is invalid.
    """
    if url and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_][A-Za-z0-9_.-]*)*/?", url):
        raise ValueError(f"expected s3://bucket or s3://bucket/prefix, got {url!r}")
    return url or None


def _listed(value: Any) -> Any:
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def _rate(text: str) -> str:
    """Reject an invalid rate limit.

    Raises:
        ValueError: it is invalid.
    """
    try:
        if text.strip():
            parse_many(text)
    except ValueError as error:
        raise ValueError(f"expected limits such as 60/minute;1000/day, got {text!r}") from error
    return text


def _fernet(keys: SecretStr | None) -> SecretStr | None:
    """Reject an invalid list of Fernet keys.

    Raises:
        ValueError: it is invalid; the message does not contain it.
    """
    if keys is None:
        return None
    given = [key.strip() for key in keys.get_secret_value().split(",")]
    if not all(re.fullmatch(r"[A-Za-z0-9_-]{43}=", key) for key in given):
        raise ValueError("expected comma-separated keys of 32 bytes in URL-safe base64; `make secrets` creates one")
    return SecretStr(",".join(given))


def _apart(folders: list[Path]) -> list[Path]:
    """Reject folders with the same name.

    Raises:
        ValueError: two folders have the same name.
    """
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names) or "" in names:
        raise ValueError(f"expected folders with distinct names, got {names}")
    return folders


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _prefix(url: str) -> str:
    """Reject an invalid bucket URL; return it without a trailing slash.

    Raises:
        ValueError: it is invalid.
    """
    return (_bucket(url) or "").rstrip("/")


Folder = Annotated[Path, AfterValidator(_absolute)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Rate = Annotated[str, AfterValidator(_rate)]
LogFormat = Literal["text", "json"]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)]


class Settings(BaseSettings):
    """Settings of the service; the defaults are the embedded service: SQLite, a local folder, loopback."""

    model_config = SettingsConfigDict(
        env_prefix="RDRKD_",
        secrets_dir=os.environ.get("RDRKD_SECRETS_DIR"),
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # the input contains tokens, and URLs with passwords
    )

    data_dir: Annotated[Path, AfterValidator(_absolute)] = Field(
        Path("var"), validate_default=True, description="root folder of storage, caches, run folders and SQLite files"
    )
    database_url: Annotated[str, AfterValidator(_with_driver)] = Field(
        default_factory=lambda data: f"sqlite:///{data['data_dir']}/rdrkd.db",
        repr=False,
        description="`sqlite:///path` or `postgresql://user:password@host/name`",
    )
    broker_url: str = Field(
        default_factory=lambda data: f"sqla+sqlite:///{data['data_dir']}/broker.db",
        repr=False,
        description="`sqla+sqlite:///path` or `redis://host:6379/0`",
    )
    migrate_on_start: bool = Field(
        default_factory=lambda data: data["database_url"].startswith("sqlite"),
        description="upgrade the database schema when the API starts; default: only on SQLite",
    )

    storage_url: Annotated[str | None, AfterValidator(_bucket)] = Field(
        None, description="`s3://bucket/prefix` that stores all files; default: a folder in the data folder"
    )
    s3_endpoint: str | None = Field(None, description="`https://host:port` of an S3-compatible server; default: AWS")
    s3_download_endpoint: str | None = Field(None, description="URL of the same server for clients, if different")
    s3_region: str = Field("us-east-1", description="region of the bucket")
    s3_access_key_id: SecretStr | None = Field(
        None, repr=False, description="access key of the bucket; default: `AWS_ACCESS_KEY_ID`, or the machine's role"
    )
    s3_secret_access_key: SecretStr | None = Field(
        None, repr=False, description="secret access key; default: `AWS_SECRET_ACCESS_KEY`"
    )
    s3_session_token: SecretStr | None = Field(
        None, repr=False, description="session token, if any; default: `AWS_SESSION_TOKEN`"
    )
    s3_redirect: bool = Field(
        True, description="redirect downloads to presigned URLs of the bucket; off: stream them through the service"
    )
    s3_redirect_seconds: int = Field(
        300, ge=1, le=604_800, description="lifetime of a presigned URL; a download in progress may take longer"
    )
    s3_cache_bytes: int = Field(
        50 * GIB, ge=0, description="size limit of a worker's cache of bucket objects, `<data_dir>/objects`, bytes"
    )
    dataset_cache_bytes: int | None = Field(
        None,
        ge=0,
        description="size limit of unpacked datasets in `<data_dir>/cache`, bytes; default: by free disk space",
    )

    checkpoints_keep_last: int = Field(2, ge=1, description="number of newest checkpoints to keep for each job")
    checkpoints_keep_best: bool = Field(False, description="also keep the best checkpoint by its metrics")
    checkpoints_keep_every: int = Field(
        0, ge=0, description="also keep checkpoints whose epoch is a multiple of this; 0: none"
    )
    checkpoints_keep_state: bool = Field(
        False, description="keep the resume states of jobs that have succeeded; nothing resumes from them"
    )
    orphans_keep_hours: float = Field(
        48, ge=24, description="age at which a stored file that no row refers to is removed, hours"
    )

    host: str = Field(
        "127.0.0.1", description="address to listen on; beyond loopback a token or an API key is required"
    )
    port: int = Field(8000, ge=0, le=65_535, description="TCP port to listen on")
    token: SecretStr | None = Field(None, description="the operator's bearer token, which guards every /v1 endpoint")
    token_file: Path | None = Field(None, description="file that holds the token, such as a container secret")
    local_token_file: Path | None = Field(
        None,
        description="file that holds the token which `rdrkd up` creates at each start for its own user: accepted from "
        "this machine only; unlike `RDRKD_TOKEN`, it does not make a token mandatory",
    )
    allowed_hosts: Annotated[list[str], NoDecode, BeforeValidator(_listed)] = Field(
        default_factory=list, description="further values accepted in the Host header, comma-separated"
    )

    console: bool = Field(True, description="serve the console's pages at `/`; off: only the API")

    max_waiting: int = Field(200, ge=0, description="concurrent event streams and long polls per API process")

    max_dataset_bytes: int = Field(20 * GIB, ge=1, description="largest accepted dataset archive, bytes")
    dataset_folders: Annotated[list[Folder], NoDecode, BeforeValidator(_listed), AfterValidator(_apart)] = Field(
        default_factory=list,
        description="local folders that datasets may be imported from, comma-separated; empty: none",
    )
    dataset_buckets: Annotated[list[Prefix], NoDecode, BeforeValidator(_listed)] = Field(
        default_factory=list,
        description="`s3://bucket/prefix` locations that datasets may be imported from, comma-separated; empty: none",
    )
    dataset_s3_endpoint: str | None = Field(
        default_factory=lambda data: data["s3_endpoint"],
        description="S3 server of those buckets; default: `RDRKD_S3_ENDPOINT`",
    )
    dataset_s3_region: str = Field(
        default_factory=lambda data: data["s3_region"],
        description="region of those buckets; default: `RDRKD_S3_REGION`",
    )
    dataset_s3_access_key_id: SecretStr | None = Field(
        None, repr=False, description="access key of those buckets, read-only is enough; default: the storage bucket's"
    )
    dataset_s3_secret_access_key: SecretStr | None = Field(
        None, repr=False, description="secret access key of those buckets"
    )
    dataset_s3_session_token: SecretStr | None = Field(
        None, repr=False, description="session token of those buckets, if any"
    )
    import_timeout_seconds: float = Field(
        21_600,
        gt=0,
        description="wall time for copying a dataset from a folder or bucket",
    )
    max_model_bytes: int = Field(2 * GIB, ge=1, description="largest accepted model file, bytes")

    pretrained_url: str = Field(
        SOURCE,
        description="URL of the folder that workers download official weights from; empty: they use only files in "
        "`<data_dir>/pretrained`",
    )

    min_free_bytes: int = Field(
        GIB,
        ge=0,
        description="disk watermark: below this many free bytes the service refuses jobs and uploads, and "
        "workers claim nothing",
    )

    quota_queued_jobs: int = Field(1000, ge=0, description="queued jobs per owner; 0: unlimited")
    quota_running_jobs: int = Field(0, ge=0, description="running jobs per owner; 0: unlimited")
    quota_storage_bytes: int = Field(200 * GIB, ge=0, description="stored bytes per owner; 0: unlimited")
    rate_default: Rate = Field("600/minute", description="rate limit of each key for reads; empty: unlimited")
    rate_submit: Rate = Field(
        "60/minute", description="rate limit of each key for writes, uploads included; empty: unlimited"
    )
    rate_download: Rate = Field("120/minute", description="rate limit of each key for file downloads; empty: unlimited")
    rate_stranger: Rate = Field(
        "60/minute", description="rate limit of each address for requests without a valid key; empty: unlimited"
    )
    body_seconds: float = Field(
        30,
        gt=0,
        description="longest pause of a request body, and how far it may lag behind `body_bytes_per_second`; then 408",
    )
    body_bytes_per_second: int = Field(1000, gt=0, description="minimum rate of a request body, bytes per second")

    audit_keep_days: float = Field(365, gt=0, description="retention of the audit log, days")
    encryption_keys: Annotated[SecretStr | None, AfterValidator(_fernet)] = Field(
        None,
        repr=False,
        description="Fernet keys, comma-separated, that encrypt webhook secrets: the first encrypts, all "
        "decrypt; default: `<data_dir>/encryption.key`, created at the first start",
    )
    webhooks_allow_http: bool = Field(False, description="allow webhook URLs without TLS")
    webhooks_allow_private: bool = Field(
        False, description="allow webhook URLs in private networks and on this machine"
    )
    webhooks_seconds: float = Field(2, gt=0, description="how often to poll for webhook events to send")
    webhooks_retry_seconds: float = Field(
        10, gt=0, description="delay before the second attempt of a delivery; it triples with each attempt"
    )
    webhooks_disable_days: float = Field(
        5, gt=0, description="days of continuous failure after which a webhook is disabled"
    )
    webhooks_keep_days: float = Field(30, gt=0, description="retention of the delivery log, days")

    log_format: LogFormat = Field("text", description="`text` or `json` (one object per line)")
    log_level: LogLevel = Field("INFO", description="lowest level to log: `DEBUG`, `INFO`, `WARNING` or `ERROR`")

    lease_seconds: float = Field(60, gt=0, description="lifetime of a worker's lease on a job without a heartbeat")
    heartbeat_seconds: float = Field(10, gt=0, description="how often a worker renews its lease")
    cancel_poll_seconds: float = Field(1, gt=0, description="how often a worker polls for a cancel request")
    stop_grace_seconds: float = Field(10, gt=0, description="time between asking a trainer to stop and killing it")
    reaper_seconds: float = Field(5, gt=0, description="how often the reaper looks for expired leases")
    ring_again_seconds: float = Field(
        10, gt=0, description="how long a row may stay unclaimed before the reaper sends another wake-up message"
    )
    look_seconds: float = Field(
        2, gt=0, description="how often an idle worker polls the database for jobs, without a wake-up message"
    )
    wedged_seconds: float = Field(
        120, gt=0, description="how long a worker may wait for one answer before it exits in order to be restarted"
    )
    max_lost_workers: int = Field(5, ge=0, description="workers that a job may lose before it fails")
    outage_grace_seconds: float = Field(
        300, ge=0, description="how long a training continues past its lease while the database does not answer"
    )
    inspect_timeout_seconds: float = Field(
        1800, gt=0, description="longest time to check an upload; smaller files get less"
    )
    inspect_memory_bytes: int = Field(
        8 * GIB, ge=2**28, description="most memory to check an upload, bytes; smaller files get less"
    )
    inspect_file_bytes: int = Field(
        GIB, ge=2**20, description="largest file that the check of an upload may write, bytes"
    )

    @model_validator(mode="after")
    def _heartbeat_within_lease(self) -> Self:
        if self.heartbeat_seconds >= self.lease_seconds:
            raise ValueError(
                f"expected heartbeat_seconds below lease_seconds, got {self.heartbeat_seconds} and {self.lease_seconds}"
            )
        return self

    @model_validator(mode="after")
    def _buckets_can_be_used(self) -> Self:
        if self.dataset_buckets and find_spec("obstore") is None:
            raise ValueError("expected `pip install 'rdrkd[s3]'` for datasets from buckets, got no obstore")
        ours = (self.storage_url or "").rstrip("/") if self.dataset_s3_endpoint == self.s3_endpoint else ""
        for allowed in self.dataset_buckets:
            if ours and (f"{ours}/".startswith(f"{allowed}/") or allowed.startswith(f"{ours}/")):
                raise ValueError(f"expected buckets other than the storage's own, got {allowed}")
        return self

    @property
    def secret_places(self) -> list[Path]:
        """Files and folders with secrets, which trainers must not read."""
        folder = self.model_config.get("secrets_dir")
        database = self.database_url.partition(":///")[2] if self.database_url.startswith("sqlite") else ""
        named = [
            self.token_file,
            self.local_token_file,
            Path(str(folder)) if folder else None,
            Path(database) if database else None,
        ]
        return [path.absolute() for path in named if path is not None]

    @property
    def storage_dir(self) -> Path:
        """Root folder of the stored files."""
        return self.data_dir / "storage"

    @property
    def pretrained_dir(self) -> Path:
        """Folder of official weights."""
        return self.data_dir / "pretrained"

    @property
    def cache_dir(self) -> Path:
        """Folder of unpacked datasets, by content hash."""
        return self.data_dir / "cache"

    def read_local_token(self) -> str | None:
        """Return the token of the user who started an embedded service, if there is one.

        Raises:
            OSError: its file cannot be read.
        """
        return self.local_token_file.read_text().strip() or None if self.local_token_file is not None else None

    def read_token(self) -> str | None:
        """Return the bearer token, if one is set.

        Raises:
            ValueError: the token is set twice, or is empty.
            OSError: the token file cannot be read.
        """
        if self.token is not None and self.token_file is not None:
            raise ValueError("expected either RDRKD_TOKEN or RDRKD_TOKEN_FILE, got both")
        if self.token is not None:
            token = self.token.get_secret_value().strip()
        elif self.token_file is not None:
            token = self.token_file.read_text().strip()
        else:
            return None
        if not token:
            raise ValueError("expected a token, got an empty one: unset it or give it a value")
        return token


def has_token(settings: Settings) -> bool:
    """Return whether the operator can also authenticate without a key."""
    return settings.token is not None or settings.token_file is not None or settings.local_token_file is not None
