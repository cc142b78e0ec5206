"""Checkpoints between run folder and storage: out as they are written, back when another attempt resumes."""

import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.jobs.lifecycle import Held, Published
from api.storage import Storage
from api.tables.job_inputs import STATE
from api.tables.jobs import Artifact, Job
from rdrkd.events import Checkpoint

log = logging.getLogger(__name__)

FINAL = (  # of a finished run folder, where they are there
    "student.pt", "student.safetensors", "alone.pt", "alone.safetensors",  # the latter with `baseline`
    "model_card.md", "metrics.jsonl", "warnings.jsonl", "report.html", "report.png", "resolved_spec.json",
    "result.json", "predictions.jpg", "pr_curve.png", "confusion_matrix.png",
    "predictions.json", *(f"predictions-{place}.jpg" for place in range(1, 7)),
    "report.md", "members.csv", "study.json", "curves.png", "differences.png", "panel.png",  # of a study's report
    "model.onnx", "model_openvino.zip", "model.torchscript", "model.engine",  # of an export
)  # fmt: skip
TOLD = ("metrics.jsonl", "warnings.jsonl", "report.html", "report.png", "resolved_spec.json")  # of one that ended early
MAX_TOLD = 2**25  # bytes of each of them: nobody who cancels a job waits for more
MAX_FILES = 50  # of one checkpoint, or of a finished run: the service lists them all
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def store(storage: Storage, held: Held, run_dir: Path, event: Checkpoint) -> list[Published]:
    """Copy the files of a checkpoint to the storage: hashed, synced, renamed; rows are the caller's.

    Raises:
        ValueError: the event names files outside the run folder, odd ones, or too many.
        FileNotFoundError: the run has dropped the checkpoint since.
        OSError: a file cannot be read or written.
    """
    prefix = f"jobs/{held.id}/attempt-{held.attempt}/epoch-{event.epoch}"
    return _store(storage, prefix, event.epoch, run_dir / event.folder, event.files, within=run_dir)


def store_final(storage: Storage, held: Held, run_dir: Path, epoch: int, known: Mapping[str, str]) -> list[Published]:
    """Copy what a finished run leaves, except files whose content (sha256 by name) is `known` already."""
    names = [name for name in FINAL if (run_dir / name).is_file()]
    return _store_end(storage, held, run_dir, epoch, known, names)


def store_told(storage: Storage, held: Held, run_dir: Path, epoch: int, known: Mapping[str, str]) -> list[Published]:
    """Copy what a run that fails or is cancelled has told by then, likewise."""
    found = [name for name in TOLD if (run_dir / name).is_file()]
    names = [name for name in found if (run_dir / name).stat().st_size <= MAX_TOLD]
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
    """Copy files; the trainer opens strangers' files, so what it names is not believed."""
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
        continues: the job that it goes on from.
        after: the attempts up to this one do not count, nor does `continues` then: its owner had it begin anew.
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
    """Put the newest checkpoint whose files all verify into a run folder; give its epoch, None to start anew."""
    for files in checkpoints:
        if all(file.name != STATE for file in files):
            continue  # it only hands back weights
        if _copy_back(storage, files, run_dir):
            return files[0].epoch
        log.warning("the checkpoint of epoch %d is damaged; trying the one before", files[0].epoch)
    return None


def _copy_back(storage: Storage, files: list[Artifact], run_dir: Path) -> bool:
    folder = run_dir / "checkpoints" / f"{files[0].epoch:04d}"
    unfinished = folder.with_name(folder.name + ".part")
    unfinished.mkdir(parents=True)
    if not all(storage.copy_to(file.key, file.sha256, unfinished / file.name) for file in files):
        shutil.rmtree(unfinished)
        return False
    unfinished.rename(folder)
    return True
