"""Copy checkpoints from the run folder to the storage as they are written, and back when another attempt resumes."""

import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.jobs.claims import Held
from api.jobs.lifecycle import Published
from api.storage import Storage
from api.tables.job_inputs import STATE
from api.tables.jobs import Artifact, Job
from rdrkd.events import Checkpoint
from rdrkd.run_folder.names import CHECKPOINTS

log = logging.getLogger(__name__)

FINAL = (  # files to keep of a finished run, if they exist
    "student.pt", "student.safetensors", "alone.pt", "alone.safetensors",  # the latter with `baseline`
    "model_card.md", "metrics.jsonl", "warnings.jsonl", "report.html", "report.png", "resolved_spec.json",
    "result.json", "predictions.jpg", "pr_curve.png", "confusion_matrix.png",
    "predictions.json", *(f"predictions-{place}.jpg" for place in range(1, 7)),
    "report.md", "members.csv", "study.json", "curves.png", "differences.png", "panel.png",  # of a study's report
    "model.onnx", "model_openvino.zip", "model.torchscript", "model.engine",  # of an export
)  # fmt: skip
EARLY = ("metrics.jsonl", "warnings.jsonl", "report.html", "report.png", "resolved_spec.json")  # of a run ended early
MAX_EARLY = 2**25  # bytes of each of these files, so that a cancel does not take long
MAX_FILES = 50  # per checkpoint or finished run: the service lists them all
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def store(storage: Storage, held: Held, run_dir: Path, event: Checkpoint) -> list[Published]:
    """Copy the files of a checkpoint to the storage: hashed, synced, renamed. The caller writes the rows.

    Raises:
        ValueError: the event names files outside the run folder, invalid names, or too many files.
        FileNotFoundError: the run has meanwhile removed the checkpoint.
        OSError: a file cannot be read or written.
    """
    prefix = f"jobs/{held.id}/attempt-{held.attempt}/epoch-{event.epoch}"
    return _store(storage, prefix, event.epoch, run_dir / event.folder, event.files, within=run_dir)


def store_final(storage: Storage, held: Held, run_dir: Path, epoch: int, known: Mapping[str, str]) -> list[Published]:
    """Copy the files of a finished run, except those whose content is already stored (`known`: sha256 by name)."""
    names = [name for name in FINAL if (run_dir / name).is_file()]
    return _store_end(storage, held, run_dir, epoch, known, names)


def store_early(storage: Storage, held: Held, run_dir: Path, epoch: int, known: Mapping[str, str]) -> list[Published]:
    """Copy the metrics, warnings and report of a run that failed or was cancelled, in the same way."""
    found = [name for name in EARLY if (run_dir / name).is_file()]
    names = [name for name in found if (run_dir / name).stat().st_size <= MAX_EARLY]
    return _store_end(storage, held, run_dir, epoch, known, names)


def _store_end(
    storage: Storage, held: Held, run_dir: Path, epoch: int, known: Mapping[str, str], names: Sequence[str]
) -> list[Published]:
    prefix = f"jobs/{held.id}/attempt-{held.attempt}/final"
    stored = _store(storage, prefix, epoch, run_dir, names, within=run_dir)
    again = [file for file in stored if known.get(file.name) == file.sha256]
    for file in again:
        storage.delete(file.key)
    return [file for file in stored if file not in again]


def _store(
    storage: Storage, prefix: str, epoch: int, folder: Path, names: Sequence[str], within: Path
) -> list[Published]:
    """Copy files. The trainer reads untrusted files, so the names that it reports are checked."""
    if len(names) > MAX_FILES:
        raise ValueError(f"expected a checkpoint of at most {MAX_FILES} files, got {len(names)}")
    published: list[Published] = []
    for name in names:
        path = folder / name
        if not (_NAME.fullmatch(name) and path.resolve().is_relative_to(within.resolve())):
            raise ValueError(f"expected a file of the run folder, got {name!r}")
        stored = storage.put_file(path, f"{prefix}/{name}")
        published.append(Published(epoch, name, stored.key, stored.sha256, stored.size))
    return published


def all_of(session: Session, job_id: str, continues: str | None = None, after: int = 0) -> list[list[Artifact]]:
    """Return a job's checkpoints, newest first, each as its files; then those of the job it continues.

    Args:
        session: the caller's transaction.
        job_id: the job.
        continues: the job from whose checkpoints it started.
        after: ignore attempts up to this one, and `continues`, because the owner restarted the job from scratch.
    """
    order = (Artifact.attempt.desc(), Artifact.epoch.desc(), Artifact.name)
    rows = session.scalars(
        select(Artifact).where(Artifact.job_id == job_id, Artifact.attempt > after).order_by(*order)
    ).all()
    own = [list(files) for _, files in groupby(rows, key=lambda row: (row.attempt, row.epoch))]
    before = session.get(Job, continues) if continues is not None and not after else None
    if before is None:
        return own
    return own + all_of(session, before.id, before.continues, before.scratch_after)


def restore(storage: Storage, checkpoints: list[list[Artifact]], run_dir: Path) -> int | None:
    """Copy the newest checkpoint whose files all verify into a run folder; return its epoch or None."""
    for files in checkpoints:
        if all(file.name != STATE for file in files):
            continue  # it has weights only, no state to resume from
        if _copy_back(storage, files, run_dir):
            return files[0].epoch
        log.warning("the checkpoint of epoch %d is damaged; trying the previous one", files[0].epoch)
    return None


def _copy_back(storage: Storage, files: list[Artifact], run_dir: Path) -> bool:
    folder = run_dir / CHECKPOINTS / f"{files[0].epoch:04d}"
    unfinished = folder.with_name(folder.name + ".part")
    unfinished.mkdir(parents=True)
    if not all(storage.copy_to(file.key, file.sha256, unfinished / file.name) for file in files):
        shutil.rmtree(unfinished)
        return False
    unfinished.rename(folder)
    return True
