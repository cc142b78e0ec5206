"""The resume state of a training: everything that Ultralytics' own checkpoint rounds or leaves out.

Its checkpoint holds the EMA in half precision and no live weights, so a run that resumes from it is another run.
This one holds the live weights, the EMA, the optimiser, the loss scaler, the early stopping and the random
generators as they are, in fp32, and neither the teacher nor a path. It is read with `weights_only`.
"""

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rdrkd import checkpoints
from rdrkd.errors import ModelError
from rdrkd.events import Warn
from rdrkd.files import write_synced
from rdrkd.reporter import Reporter
from rdrkd.ultralytics_adapter import unwrap_model

FORMAT = 1


def capture(trainer: Any) -> dict[str, Any]:
    """Give the state of a trainer at the end of an epoch."""
    return {
        "format": FORMAT,
        "epoch": trainer.epoch + 1,  # finished epochs
        "finished": bool(trainer.stop),  # the last epoch, or early stopping
        "model": unwrap_model(trainer.model).state_dict(),
        "ema": trainer.ema.ema.state_dict(),
        "updates": trainer.ema.updates,
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "best_fitness": _number(trainer.best_fitness),
        "best_epoch": trainer.best_epoch,
        "stopper": {"best_fitness": _number(trainer.stopper.best_fitness), "best_epoch": trainer.stopper.best_epoch},
        "random": _random_state(trainer),
    }


def restore(trainer: Any, state: dict[str, Any]) -> None:
    """Put a trainer, built by the same spec, where `capture` found the other.

    Raises:
        ModelError: the state is of another network or another format.
    """
    if state.get("format") != FORMAT:
        raise ModelError(f"expected a resume state of format {FORMAT}, got {state.get('format')}")
    try:
        unwrap_model(trainer.model).load_state_dict(state["model"])
        trainer.ema.ema.load_state_dict(state["ema"])
        trainer.optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"expected the resume state of this spec's network, got another: {error}") from error
    trainer.ema.updates = state["updates"]
    if state["scaler"]:
        trainer.scaler.load_state_dict(state["scaler"])
    trainer.best_fitness, trainer.best_epoch = state["best_fitness"], state["best_epoch"]
    trainer.stopper.best_fitness = state["stopper"]["best_fitness"]
    trainer.stopper.best_epoch = state["stopper"]["best_epoch"]
    _set_random_state(trainer, state["random"])


def write(state: dict[str, Any], path: Path) -> None:
    """Write a state and sync it to the disk."""
    buffer = io.BytesIO()  # torch's own file writer does not say why it failed
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


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _random_state(trainer: Any) -> dict[str, Any]:
    _name, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "mosaic": list(getattr(trainer.train_loader.dataset, "buffer", ())),  # images that mosaic draws from
    }


def _set_random_state(trainer: Any, state: dict[str, Any]) -> None:
    """Restore the generators; loader processes (used on a GPU) start theirs anew."""
    dataset = trainer.train_loader.dataset
    if trainer.train_loader.num_workers == 0:
        for index in dataset.buffer:
            dataset.ims[index] = None  # loading one that is held would not enter it into the buffer
        dataset.buffer.clear()
        for index in state["mosaic"]:
            dataset.load_image(index)
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def newest(run_dir: Path, reporter: Reporter) -> tuple[Path, dict[str, Any]] | None:
    """Give the newest checkpoint that can be read, and its state; a damaged one is reported and passed over."""
    for folder in reversed(checkpoints.complete(run_dir)):
        try:
            return folder, read(folder / checkpoints.STATE)
        except ModelError as error:
            reporter.emit(Warn(code="checkpoint_unreadable", message=f"{folder.name}: {error}"))
    return None
