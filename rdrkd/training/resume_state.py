"""The resume state of a training: everything that Ultralytics' own checkpoint rounds or leaves out.

Its checkpoint holds the EMA in half precision and no live weights, so a run that resumes from it diverges. This state
holds the live weights, accumulated gradients, EMA, optimiser, loss scaler, calibrated weights and early stopping,
unrounded in fp32, and neither the teacher nor a path. It holds no random generators: each epoch seeds its own
(`rdrkd.training.loading`). It is read with `weights_only`.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rdrkd.distillation.distiller import Distiller
from rdrkd.errors import ModelError
from rdrkd.events import Warn
from rdrkd.files import write_synced
from rdrkd.reporter import Reporter
from rdrkd.run_folder import checkpoints
from rdrkd.run_folder.names import CHECKPOINTS
from rdrkd.training.part import Name
from rdrkd.ultralytics_adapter import unwrap_model

FORMAT = 2


@dataclass(frozen=True)
class Found:
    """A readable checkpoint, with the small fields of its state; the state itself is large.

    Attributes:
        folder: the checkpoint's folder.
        finished: whether there is nothing left to train.
        batch: images per step, on all ranks together; None for a state of an earlier version.
        ranks: number of processes that trained it; None likewise.
        part: name of the part it belongs to.
    """

    folder: Path
    finished: bool
    batch: int | None
    ranks: int | None
    part: Name

    @classmethod
    def at(cls, folder: Path) -> "Found":
        """Open a checkpoint's folder; raises `ModelError` if it cannot be read."""
        state = read(folder / checkpoints.STATE)
        return cls(folder, state["finished"], state.get("batch"), state.get("ranks"), state.get("part", "student"))

    def state(self) -> dict[str, Any]:
        """Read the state; raises `ModelError` if it can no longer be read."""
        return read(self.folder / checkpoints.STATE)


def capture(trainer: Any) -> dict[str, Any]:
    """Return the state of a trainer at the end of an epoch."""
    model = unwrap_model(trainer.model)
    return {
        "format": FORMAT,
        "part": trainer.part.name,
        "earlier": trainer.part.earlier and trainer.part.earlier.model_dump(mode="json"),
        "epoch": trainer.epoch + 1,  # finished epochs of the part
        "finished": bool(trainer.stop),  # the last epoch, or early stopping
        "batch": trainer.batch_size,  # smaller than requested if the GPU's memory did not suffice
        "ranks": trainer.ranks,
        "model": model.state_dict(),
        "gradients": {name: p.grad for name, p in model.named_parameters() if p.grad is not None},
        "recoveries": trainer.recoveries,
        "last_step": trainer.last_step,  # iteration of the newest optimiser step
        "ema": trainer.ema.ema.state_dict(),
        "updates": trainer.ema.updates,
        "criterion_updates": getattr(getattr(model, "criterion", None), "updates", None),  # of an end-to-end head
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "distillation": _distillation(model),
        "findings": trainer.findings.state(),
        "best_fitness": _number(trainer.best_fitness),
        "best_epoch": trainer.best_epoch,
        "stopper": {"best_fitness": _number(trainer.stopper.best_fitness), "best_epoch": trainer.stopper.best_epoch},
    }


def restore(trainer: Any, state: dict[str, Any]) -> None:
    """Restore a captured state in a trainer built from the same spec; the trainer restores the gradients itself.

    Raises:
        ModelError: the state belongs to another network or has another format.
    """
    if state.get("format") != FORMAT:
        raise ModelError(f"expected a resume state of format {FORMAT}, got {state.get('format')}")
    model = unwrap_model(trainer.model)
    try:
        model.load_state_dict(state["model"])
        trainer.ema.ema.load_state_dict(state["ema"])
        trainer.optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"expected the resume state of this spec's network, got another: {error}") from error
    trainer.ema.updates, trainer.recoveries = state["updates"], state["recoveries"]
    if state["scaler"]:
        trainer.scaler.load_state_dict(state["scaler"])
    if state["criterion_updates"] is not None:
        _advance(model, state["criterion_updates"])
    if state["distillation"] is not None:
        model.weights = dict(state["distillation"]["weights"])
        model.probe.steps = state["distillation"]["steps"]
        model.probe.made, model.probe.last = state["distillation"].get("probes", (0, 0))
        if model.calibrator is not None:
            model.calibrator.restore(state["distillation"]["calibration"])
    trainer.findings.restore(state["findings"])
    trainer.best_fitness, trainer.best_epoch = state["best_fitness"], state["best_epoch"]
    trainer.stopper.best_fitness = state["stopper"]["best_fitness"]
    trainer.stopper.best_epoch = state["stopper"]["best_epoch"]


def write(state: dict[str, Any], path: Path) -> None:
    """Write a state and sync it to the disk."""
    buffer = io.BytesIO()  # torch's own file writer hides the cause of a failure
    torch.save(state, buffer)
    write_synced(path, buffer.getbuffer())


def read(path: Path) -> dict[str, Any]:
    """Read a state; only tensors and plain values are accepted.

    Raises:
        ModelError: the file is no resume state.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes the reader raise
        raise ModelError(f"expected a resume state at {path.name}, got a file that cannot be read: {error}") from error
    return state


def newest(run_dir: Path, reporter: Reporter) -> Found | None:
    """Return the newest readable checkpoint; report and skip damaged ones."""
    for folder in reversed(checkpoints.complete(run_dir)):
        try:
            return Found.at(folder)
        except ModelError as error:
            reporter.emit(Warn(code="checkpoint_unreadable", message=f"{folder.name}: {error}"))
    return None


def of(run_dir: Path, name: str) -> Found:
    """Return the checkpoint with this name.

    Raises:
        ModelError: it cannot be read.
    """
    return Found.at(run_dir / CHECKPOINTS / name)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _distillation(model: Any) -> dict[str, Any] | None:
    if not isinstance(model, Distiller):
        return None
    calibration = model.calibrator.state() if model.calibrator is not None else None
    probe = model.probe
    return {
        "weights": dict(model.weights), "steps": probe.steps, "probes": (probe.made, probe.last),
        "calibration": calibration,
    }  # fmt: skip


def _advance(model: Any, updates: int) -> None:
    """Advance an end-to-end criterion, which shifts from one-to-many to one-to-one, to its former position."""
    if getattr(model, "criterion", None) is None:
        model.criterion = model.init_criterion()
    model.criterion.updates = updates - 1
    model.criterion.update()
