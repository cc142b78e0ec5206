"""Train a plan, resuming where it stopped, in this process or in one process per device."""

import gc
from dataclasses import replace
from pathlib import Path

import torch

from rdrkd.events import Calibrated, Warn
from rdrkd.process.devices import devices_of
from rdrkd.reporter import Reporter
from rdrkd.run_folder import checkpoint_files
from rdrkd.training import parallel, ranks, resume_state
from rdrkd.training.overrides import batch_of
from rdrkd.training.part import WHOLE, Part, Trained
from rdrkd.training.plan import Plan
from rdrkd.training.precision import precision
from rdrkd.training.trainer import Trainer


def train(
    plan: Plan, data: Path, run_dir: Path, reporter: Reporter, device: str | None = None, part: Part = WHOLE
) -> int | None:
    """Train a plan, write the best student to the run folder, and return the best epoch.

    Args:
        plan: the plan to train.
        data: our data YAML.
        run_dir: the run folder; with checkpoints, training resumes; a finished one is left unchanged.
        reporter: receives the events; polled between batches for a stop request.
        device: `cpu`, a CUDA index, None for the GPU if there is one, or a list (`0,1`; `cpu,cpu`): one rank each.
        part: the part of the run; earlier parts have ended.

    Raises:
        MachineError: a device does not exist.
        SpecError: the devices cannot share a batch equally.
        RdrkdError: the training failed, here or on the first rank that failed; StopRequested on a stop request.
    """
    devices = devices_of(device)
    found = resume_state.newest(run_dir, reporter)
    if found is not None and (found.part != part.name or found.finished):
        saved = found.state()
        trained = Trained.of(saved)
        if found.part == part.name:
            return _finished(found, trained, run_dir, reporter)
        if part.name == "student":  # the next part has begun
            return _finished(found, Trained.model_validate(saved["earlier"]), run_dir, reporter)
        plan, part = _after(plan, part, trained)
        _begin(found, run_dir)
        found = None
    if found is not None and found.ranks not in (None, len(devices)):
        reporter.emit(_changed(found, len(devices)))
    if len(devices) == 1:
        return train_here(plan, data, run_dir, reporter, device, found, part)
    parallel.check_batch(batch_of(plan, found), len(devices))
    resume = None if found is None else found.folder.name
    return ranks.train(ranks.Order.of(plan, data, run_dir, devices, resume, part), reporter)


def _after(plan: Plan, part: Part, before: Trained) -> tuple[Plan, Part]:
    """Return a part and its plan with the outcome of the part before it, whose batch size it keeps."""
    batch = min(plan.settings.batch, before.batch or plan.settings.batch)
    settings = plan.settings.model_copy(update={"batch": batch})
    return replace(plan, settings=settings), part.model_copy(update={"earlier": before})


def _begin(found: resume_state.Found, run_dir: Path) -> None:
    """Restore the run folder at the end of the previous part, and free that part's memory."""
    checkpoint_files.copy(found.folder, run_dir, checkpoint_files.OF_TRAINING)
    gc.collect()  # a trainer is part of reference cycles
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _finished(found: resume_state.Found, trained: Trained, run_dir: Path, reporter: Reporter) -> int | None:
    """Restore the run folder's files from its last checkpoint, and return the best epoch."""
    checkpoint_files.copy(found.folder, run_dir, checkpoint_files.OF_TRAINING)
    if trained.weights is not None:
        reporter.emit(Calibrated(weights=trained.weights, measured=trained.measured))
    return trained.best_epoch


def _changed(found: resume_state.Found, devices: int) -> Warn:
    """Return the warning about a changed number of devices, dated with the first epoch trained on the new ones."""
    done = int(found.folder.name)
    before = "epoch 1 was" if done == 1 else f"epochs 1 to {done} were"
    message = (
        f"{before} trained on {found.ranks} devices, from epoch {done + 1} on it is {devices}: batches keep their "
        "total size but are divided differently, so batch normalisation and the images in a mosaic differ from those "
        "of a run with constant devices"
    )
    return Warn(code="devices_changed", message=message, epoch=done + 1)


def train_here(
    plan: Plan,
    data: Path,
    run_dir: Path,
    reporter: Reporter,
    device: str | None,
    resume: resume_state.Found | None,
    part: Part = WHOLE,
) -> int | None:
    """Train in this process, which may be one of several ranks; arguments as of `Trainer`."""
    trainer = Trainer(plan, data, run_dir, reporter, device, resume, part)
    with precision(trainer.dtype):
        trainer.train()
    return trainer.best_epoch
