"""Training inside Ultralytics: its `DetectionTrainer` with a student under a teacher, or alone.

Ultralytics owns the loop. What is added hangs on its extension points: `setup_model` builds the pair, `save_model`
writes our checkpoint, `resume_training` reads it, callbacks report and listen.
"""

import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rdrkd import checkpoints, state
from rdrkd.distiller import Distiller
from rdrkd.errors import NanLossError, StopRequested
from rdrkd.events import Checkpoint, Epoch, Progress, Warn
from rdrkd.files import exclusive
from rdrkd.models import LoadedModel, build, save_student
from rdrkd.models.pairs import check_pair
from rdrkd.reporter import Reporter
from rdrkd.spec import Term, TrainSettings
from rdrkd.ultralytics_adapter import (
    LOGGER,
    DetectionModel,
    DetectionTrainer,
    local_amp_check,
    provide_font,
    unwrap_model,
)

_REPORT_SECONDS = 1.0
_ORDER = 1_000_003  # keeps the orders of neighbouring seeds apart
_CARRIED = ("student.pt", "student.safetensors", "metrics.jsonl")  # best weights and history: part of every checkpoint
_METRICS = {"mAP50_95": "metrics/mAP50-95(B)", "mAP50": "metrics/mAP50(B)",
            "precision": "metrics/precision(B)", "recall": "metrics/recall(B)"}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is trained: an architecture or start weights, and the teacher with its terms, if there is one."""

    student: str | LoadedModel
    settings: TrainSettings
    teacher: LoadedModel | None = None
    terms: tuple[Term, ...] = ()


def train(plan: Plan, data: Path, run_dir: Path, reporter: Reporter, device: str | None = None) -> int | None:
    """Train a plan to its end and leave the best student in the run folder; give the best epoch.

    Args:
        plan: what is trained.
        data: our data YAML.
        run_dir: the run folder; one that holds checkpoints is resumed, one that is trained is left as it is.
        reporter: takes the events; asked between two batches whether to stop.
        device: `cpu`, a CUDA index, or None for the GPU where there is one.
    """
    found = state.newest(run_dir, reporter)
    if found is not None and found[1]["finished"]:
        _copy(found[0], run_dir)
        best: int | None = found[1]["best_epoch"]
        return best
    trainer = Trainer(plan, data, run_dir, reporter, device, resume=found)
    trainer.train()
    return trainer.best_epoch


class Trainer(DetectionTrainer):
    """Ultralytics' detection trainer of one plan in one run folder.

    Args:
        plan, data, run_dir, reporter, device: as `train`'s.
        resume: checkpoint folder and state to go on from.
    """

    def __init__(
        self,
        plan: Plan,
        data: Path,
        run_dir: Path,
        reporter: Reporter,
        device: str | None = None,
        resume: tuple[Path, dict[str, Any]] | None = None,
    ) -> None:
        self.plan, self.run_dir, self.reporter, self._resume = plan, run_dir, reporter, resume
        provide_font()
        super().__init__(overrides=_overrides(plan.settings, data, run_dir, device))
        self.best_epoch: int | None = None
        self._epoch_started = self._reported = time.monotonic()
        self._batches = 0
        self.add_callback("on_train_epoch_start", type(self)._epoch_begins)
        self.add_callback("on_train_batch_end", type(self)._batch_ended)
        self.add_callback("on_val_batch_end", lambda _validator: self._listen())

    # -- Ultralytics' extension points

    def setup_model(self) -> None:
        """Build the student and, where there are terms, the pair."""
        names = [self.data["names"][index] for index in range(self.data["nc"])]
        start = self.plan.student
        student = build(start if isinstance(start, str) else start.model.yaml, names)
        if isinstance(start, LoadedModel):
            student.load(start.model, verbose=False)  # maps the class head by name
        student.args = self.args
        if not self.plan.terms:
            self.model = student
            return
        assert self.plan.teacher is not None
        check_pair(self.plan.teacher, student, self.plan.terms, self.args.imgsz)
        self.model = Distiller(self.plan.teacher.model, student, self.plan.terms)

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """Build a dataset while no other run on this machine writes the same label cache."""
        with exclusive(Path(img_path)):
            return super().build_dataset(img_path, mode, batch)

    def _setup_train(self) -> None:
        with local_amp_check():
            super()._setup_train()

    def resume_training(self, ckpt: Any) -> None:
        """Go on from the checkpoint that the run was given, or start with a clean folder."""
        if self._resume is None:
            for name in _CARRIED:  # of a run that ended before its first checkpoint
                (self.run_dir / name).unlink(missing_ok=True)
            return
        folder, saved = self._resume
        self._resume = None  # the state is large
        state.restore(self, saved)
        self.start_epoch = saved["epoch"]
        _copy(folder, self.run_dir)

    def save_model(self) -> bool:
        """Report the epoch, and write the checkpoint and, if this is the best epoch, the student's weights.

        Ultralytics' own pickled wrapper is not written: plain Ultralytics could not load it.
        """
        self._report_epoch()
        tensors = self.ema.ema.state_dict().values()
        if not all(tensor.isfinite().all() for tensor in tensors):
            self.reporter.emit(Warn(code="checkpoint_skipped", message="the averaged weights are not finite"))
            return False
        is_best = self.best_fitness == self.fitness
        if is_best or not (self.run_dir / "student.pt").exists():
            self.best_epoch = self.epoch + 1
            save_student(student_of(self.ema.ema), self.run_dir, self.plan.settings.model_dump(mode="json"))
        folder = checkpoints.write(self.run_dir, self.epoch + 1, self._fill)
        self.reporter.emit(
            Checkpoint(
                epoch=self.epoch + 1,
                folder=str(folder.relative_to(self.run_dir)),
                files=sorted(path.name for path in folder.iterdir()),
                is_best=bool(is_best),
                metrics=self._figures(),
            )
        )
        return True

    def _fill(self, folder: Path) -> None:
        state.write(state.capture(self), folder / checkpoints.STATE)
        _copy(self.run_dir, folder)

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """Go back to the newest checkpoint when loss or fitness left the finite numbers, three times at most."""
        lost = self.loss is not None and not self.loss.isfinite()
        if not lost and (self.fitness is None or math.isfinite(self.fitness)):
            return False
        found = state.newest(self.run_dir, self.reporter)
        self.nan_recovery_attempts += 1
        if found is None or self.nan_recovery_attempts > 3:
            raise NanLossError(
                f"expected a finite loss, got {float(self.loss.detach()):g} in epoch {epoch + 1}, "
                f"after {self.nan_recovery_attempts - 1} recoveries"
            )
        folder, saved = found
        self.reporter.emit(Warn(code="nan_recovery", message=f"epoch {epoch + 1} is trained again from {folder.name}"))
        self._model_train()
        state.restore(self, saved)
        self.scheduler.last_epoch = epoch - 1
        return True

    def final_eval(self) -> None:
        """Nothing: the run evaluates the exported student by the COCO protocol."""

    def plot_training_labels(self) -> None:
        """Nothing: no plots are written."""

    # -- reporting

    def _epoch_begins(self) -> None:
        self._order_images()
        self._epoch_started, self._batches = time.monotonic(), 0
        model = unwrap_model(self.model)
        if isinstance(model, Distiller):
            model.probe.wanted = True
            model.probe.loss_scale = self.scaler.get_scale  # 1 without AMP

    def _order_images(self) -> None:
        """Make the order of the images a function of seed and epoch, so that a resumed run sees the same one.

        Loader processes prefetch across epochs: restarting them every epoch would cost more than it gives.
        """
        loader = self.train_loader
        if loader.num_workers == 0:
            loader.reset()
            loader.generator.manual_seed(_ORDER * self.args.seed + self.epoch)

    def _listen(self) -> None:
        if self.reporter.should_stop():
            raise StopRequested("asked to stop; the newest checkpoint stands")

    def _batch_ended(self) -> None:
        self._listen()
        self._batches += 1
        clock = time.monotonic()
        if clock - self._reported < _REPORT_SECONDS:
            return
        self._reported = clock
        done, total = self._batches, len(self.train_loader)
        spent = clock - self._epoch_started
        remaining = (self.epochs - self.epoch) * total - done
        self.reporter.emit(
            Progress(
                phase="training",
                completed=done,
                total=total,
                unit="batch",
                epoch=self.epoch + 1,
                epochs=self.epochs,
                eta_seconds=round(spent / done * remaining, 1),
            )
        )

    def _figures(self) -> dict[str, float]:
        """Ultralytics' own validation figures, percent."""
        found = {name: float(self.metrics.get(key, 0.0)) * 100 for name, key in _METRICS.items()}
        return {name: round(value, 4) for name, value in found.items() if math.isfinite(value)}

    def _report_epoch(self) -> None:
        model = unwrap_model(self.model)
        distilling = isinstance(model, Distiller)
        event = Epoch(
            epoch=self.epoch + 1,
            epochs=self.epochs,
            losses={name.removesuffix("_loss"): float(value) for name, value in self.tloss.items()},
            weights=dict(model.weights) if distilling else {},
            diagnostics={k: v for k, v in model.probe.found.items() if math.isfinite(v)} if distilling else {},
            lr=float(self.optimizer.param_groups[0]["lr"]),
            metrics=self._figures(),
            seconds=round(time.monotonic() - self._epoch_started, 3),
        )
        with (self.run_dir / "metrics.jsonl").open("a") as file:
            file.write(event.model_dump_json() + "\n")
        self.reporter.emit(event)


def _copy(source: Path, target: Path) -> None:
    for name in _CARRIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def student_of(model: torch.nn.Module) -> DetectionModel:
    """Give the student of a model that may be a pair."""
    model = unwrap_model(model)
    return model.student_model if isinstance(model, Distiller) else model


def _overrides(settings: TrainSettings, data: Path, run_dir: Path, device: str | None) -> dict[str, Any]:
    LOGGER.setLevel("INFO")
    chosen = device if device is not None else ("0" if torch.cuda.is_available() else "cpu")
    return {
        **settings.model_dump(mode="json"),
        "freeze": settings.freeze or None,
        "model": "yolov8n.yaml",  # never opened: `setup_model` builds the plan's student
        "data": str(data),
        "device": chosen,
        "project": str(run_dir),
        "name": "train",
        "exist_ok": True,
        "plots": False,
        "save": True,
        "val": True,
        "verbose": False,
        "pretrained": False,
    }
