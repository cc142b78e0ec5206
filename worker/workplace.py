"""What a worker works with: settings, rows, files, bells, its name, its condition, and whether it is being drained."""

import logging
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from api.db import Database
from api.queue import Doorbell
from api.settings import Settings
from api.storage import Storage, open_storage
from api.uploads.datasets import unpacked
from api.uploads.ledger.holding import Ledger
from rdrkd.process import confinement
from rdrkd.process.sealing import own_folder
from worker.bell import Bell
from worker.devices import devices

log = logging.getLogger(__name__)


def own_name() -> str:
    """Return the name of this process' worker."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Ordered(Protocol):
    """A lease that may have an order to stop."""

    order: Any

    def overdue_seconds(self) -> float:
        """Return for how long the work has gone on since it should have stopped."""


@dataclass
class Leased:
    """The lease that a worker holds at present."""

    current: Ordered | None = None


@dataclass
class Condition:
    """What keeps a worker from taking work, as a sentence; `changed` has it told at once."""

    complaint: str | None = None
    changed: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Workplace:
    """Everything that outlives a single attempt."""

    settings: Settings
    database: Database
    storage: Storage
    doorbell: Doorbell  # rings elsewhere
    name: str
    devices: Sequence[dict[str, Any]] = ()  # the GPUs that its trainers see
    draining: threading.Event = field(default_factory=threading.Event)
    bell: Bell = field(default_factory=Bell)  # rings here
    condition: Condition = field(default_factory=Condition)
    lease: Leased = field(default_factory=Leased)

    @classmethod
    def open(cls, settings: Settings) -> "Workplace":
        """Open the workplace that the settings describe."""
        own_folder(settings.data_dir)
        if not confinement.supported():
            log.warning("this kernel has no Landlock: trainers can read whatever this worker can")
        unpacked.bound_of(settings).write(settings.cache_dir)
        return cls(
            settings=settings,
            database=Database(settings.database_url, kept=1),
            storage=open_storage(settings),
            doorbell=Doorbell(settings.broker_url),
            name=own_name(),
            devices=devices(),
        )

    @cached_property
    def ledger(self) -> Ledger:
        """Bytes that this worker has reserved."""
        return Ledger(self.database, self.storage)

    @property
    def hidden(self) -> list[Path]:
        """What a trainer must not read: all data but its own, and the secrets."""
        return [self.settings.data_dir, *self.settings.secret_places]

    @property
    def cache(self) -> Path:
        """Folder of unpacked datasets, by content hash; shared by all attempts on this machine."""
        return self.settings.cache_dir

    @property
    def runs(self) -> Path:
        """Folder of the run folders."""
        return self.settings.data_dir / "runs"

    def folder(self, row_id: str, attempt: int) -> Path:
        """Return the run folder of one attempt."""
        return self.runs / row_id / f"attempt-{attempt}"
