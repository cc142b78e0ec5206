"""The context of a worker: settings, database, storage, wake-up messages, name, condition, and whether it drains."""

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
from api.settings import Settings
from api.storage import Storage, open_storage
from api.uploads.datasets import unpacked
from api.uploads.ledger.reservations import Ledger
from api.wake_ups import Doorbell
from rdrkd.process import trainer_sandbox
from rdrkd.process.secret_hiding import own_folder
from worker.devices import devices
from worker.wakeups import WakeUps

log = logging.getLogger(__name__)


def own_name() -> str:
    """Return the name of this process's worker."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Ordered(Protocol):
    """A lease under which the work may have been ordered to stop."""

    order: Any

    def overdue_seconds(self) -> float:
        """Return the seconds since the work should have stopped."""


@dataclass
class Leased:
    """The lease that a worker currently holds."""

    current: Ordered | None = None


@dataclass
class Condition:
    """What keeps a worker from claiming work, as a sentence; setting `changed` sends it with a heartbeat at once."""

    complaint: str | None = None
    changed: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Workplace:
    """Everything that outlives a single attempt."""

    settings: Settings
    database: Database
    storage: Storage
    doorbell: Doorbell  # wakes other workers
    name: str
    devices: Sequence[dict[str, Any]] = ()  # the GPUs that its trainers see
    draining: threading.Event = field(default_factory=threading.Event)
    wakeups: WakeUps = field(default_factory=WakeUps)  # received by this worker
    condition: Condition = field(default_factory=Condition)
    lease: Leased = field(default_factory=Leased)

    @classmethod
    def open(cls, settings: Settings) -> "Workplace":
        """Connect to what the settings describe."""
        own_folder(settings.data_dir)
        if not trainer_sandbox.supported():
            log.warning("this kernel has no Landlock: trainers can read everything that this worker can")
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
        """Disk space that this worker has reserved."""
        return Ledger(self.database, self.storage)

    @property
    def hidden(self) -> list[Path]:
        """Paths that a trainer must not read: all data but its own, and the secrets."""
        return [self.settings.data_dir, *self.settings.secret_places]

    @property
    def cache(self) -> Path:
        """Folder of unpacked datasets, named by content hash and shared by all attempts on this machine."""
        return self.settings.cache_dir

    @property
    def runs(self) -> Path:
        """Parent folder of all run folders."""
        return self.settings.data_dir / "runs"

    def folder(self, row_id: str, attempt: int) -> Path:
        """Return the run folder of one attempt."""
        return self.runs / row_id / f"attempt-{attempt}"
