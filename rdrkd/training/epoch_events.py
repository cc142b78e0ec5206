"""The events of a training: progress between batches, and each epoch with its losses and diagnostics."""

import math
import time
from typing import Any

from rdrkd.events import Calibrated, Epoch, Event, Progress, Warn
from rdrkd.process.devices import CPU
from rdrkd.reporter import Reporter
from rdrkd.run_folder.names import METRICS

_REPORT_SECONDS = 1.0
_METRICS = {"mAP50_95": "metrics/mAP50-95(B)", "mAP50": "metrics/mAP50(B)",
            "precision": "metrics/precision(B)", "recall": "metrics/recall(B)"}  # fmt: skip


class Dated:
    """A reporter that adds the current epoch to warnings.

    Attributes:
        epoch: the current epoch, 1-based; None before the first.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.epoch: int | None = None

    def emit(self, event: Event) -> None:
        """Forward an event; add the epoch to a warning."""
        self._reporter.emit(event.model_copy(update={"epoch": self.epoch}) if isinstance(event, Warn) else event)

    def should_stop(self) -> bool:
        """Ask the wrapped reporter."""
        return self._reporter.should_stop()


class EpochEvents:
    """Turns a trainer's state into events.

    Attributes:
        batches: finished batches of the current epoch.
    """

    def __init__(self, trainer: Any, reporter: Reporter) -> None:
        self.trainer, self.reporter = trainer, reporter
        self.batches = self._probes = 0
        self._epoch_started = time.monotonic()
        self._reported = -math.inf  # the first batch is reported at once: it ends the wait for the training to begin
        self._processor_started = time.process_time()

    @property
    def epochs(self) -> int:
        """Epochs of all parts of the run."""
        return self.trainer.part.epochs or int(self.trainer.epochs)

    def epoch_begins(self) -> None:
        """Count anew."""
        self._epoch_started, self.batches, self._probes = time.monotonic(), 0, self._probes_made()
        self._processor_started = time.process_time()

    def batch_ended(self) -> None:
        """Count the batch, and report progress at the first one and then once a second."""
        self.batches += 1
        clock = time.monotonic()
        if clock - self._reported < _REPORT_SECONDS:
            return
        self._reported = clock
        trainer = self.trainer
        done, total = self.batches, len(trainer.train_loader)
        spent = clock - self._epoch_started
        remaining = (self.epochs - trainer.number + 1) * total - done  # assumes equally slow batches in later parts
        self.reporter.emit(
            Progress(
                phase=trainer.part.phase,
                completed=done,
                total=total,
                unit="batch",
                epoch=trainer.number,
                epochs=self.epochs,
                eta_seconds=round(spent / done * remaining, 1),
            )
        )

    def figures(self) -> dict[str, float]:
        """Ultralytics' own validation figures, percent."""
        found = {name: float(self.trainer.metrics.get(key, 0.0)) * 100 for name, key in _METRICS.items()}
        return {name: round(value, 4) for name, value in found.items() if math.isfinite(value)}

    def losses(self) -> dict[str, float]:
        """Return each term's mean over the epoch; omit values that are not finite, which JSON cannot hold."""
        found = {name.removesuffix("_loss"): float(value) for name, value in self.trainer.tloss.items()}
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def epoch_ended(self) -> None:
        """Report the epoch, and append it to the run's history."""
        trainer, pair = self.trainer, self.trainer.distiller
        event = Epoch(
            part=trainer.part.name,
            epoch=trainer.number,
            epochs=self.epochs,
            losses=self.losses(),
            weights=pair.applied if pair else {},
            diagnostics=self._diagnostics(),
            lr=float(trainer.optimizer.param_groups[0]["lr"]),
            metrics=self.figures(),
            seconds=round(time.monotonic() - self._epoch_started, 3),
            processor_seconds=self._processor_seconds(),
        )
        with (trainer.run_dir / METRICS).open("a") as file:
            file.write(event.model_dump_json() + "\n")
        self.reporter.emit(event)
        if pair and pair.calibrator and pair.calibrator.settings.mode == "running":
            self.reporter.emit(Calibrated(weights=pair.weights, measured=pair.calibrator.measured))

    def _processor_seconds(self) -> float | None:
        """Return the epoch's processor time; None on a GPU, where it is meaningless."""
        if self.trainer.device.type != CPU:
            return None
        return round(time.process_time() - self._processor_started, 3)

    def _probes_made(self) -> int:
        pair = self.trainer.distiller
        return pair.probe.made if pair else 0

    def _diagnostics(self) -> dict[str, float]:
        """Return the finite figures of this epoch's newest probe; empty without a probe."""
        if self._probes_made() == self._probes:
            return {}
        return {name: value for name, value in self.trainer.distiller.probe.found.items() if math.isfinite(value)}
