"""Rollback after a loss that is not finite."""

import math
from typing import Any

from rdrkd.collectives import from_first, total
from rdrkd.errors import NanLossError
from rdrkd.events import Warn
from rdrkd.training import resume_state
from rdrkd.ultralytics_adapter import RANK


def recover(trainer: Any, epoch: int) -> bool:
    """Roll back to the newest checkpoint if a loss or the fitness is not finite, three times at most.

    One rank's loss suffices: its gradients have reached all. Only rank 0 knows the fitness.
    """
    loss = 0.0 if trainer.loss is None else float(trainer.loss.detach())
    lost = not math.isfinite(loss) or not (trainer.fitness is None or math.isfinite(trainer.fitness))
    loss_of_all, ranks_lost = total([loss / trainer.ranks, float(lost)])
    if not ranks_lost:
        return False
    found = _newest(trainer)
    trainer.nan_recovery_attempts += 1
    if found is None or trainer.nan_recovery_attempts > 3:
        raise NanLossError(
            f"expected a finite loss, got {loss_of_all:g} in epoch {epoch + 1}, "
            f"after {trainer.nan_recovery_attempts - 1} recoveries"
        )
    message = f"a loss or the fitness was not finite: trained again from checkpoint {found.folder.name}"
    trainer.reporter.emit(Warn(code="nan_recovery", message=message))
    trainer._model_train()
    recoveries = trainer.recoveries + 1
    resume_state.restore(trainer, found.state())
    trainer.recoveries = recoveries
    trainer.scheduler.last_epoch = epoch - 1
    trainer.train_loader.reset()
    trainer.train_loader.sampler.epoch = trainer.ordinal(epoch)
    return True


def _newest(trainer: Any) -> resume_state.Found | None:
    """Return the newest checkpoint that rank 0 can read, on every rank."""
    found = resume_state.newest(trainer.run_dir, trainer.reporter) if RANK < 1 else None
    if found is not None and found.part != trainer.part.name:  # of the previous part: this one has none
        found = None
    name = from_first(None if found is None else found.folder.name)
    if RANK < 1 or name is None:
        return found
    return resume_state.of(trainer.run_dir, name)
