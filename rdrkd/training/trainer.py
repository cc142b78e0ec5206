"""Ultralytics' `DetectionTrainer` for a student with a teacher, or alone.

Ultralytics owns the loop. Our additions use its extension points: `setup_model` builds the pair, `save_model` writes
our checkpoint, `resume_training` reads it, callbacks report events and check for a stop request.

If a GPU runs out of memory in the first epoch, Ultralytics halves the batch; `_build_train_pipeline` reports that, and
`overrides.batch_of` keeps the reduced batch on resume.

On several devices the same trainer runs in one process per device, the ranks (`rdrkd.training.ranks` starts them).
Every rank takes part in every collective; only rank 0 writes and reports.
"""

from copy import copy
from pathlib import Path
from typing import Any

import torch

from rdrkd.collectives import mean
from rdrkd.data.loaded import loaded
from rdrkd.diagnostics.findings import Findings
from rdrkd.diagnostics.run_report import Reports
from rdrkd.distillation.distiller import Distiller
from rdrkd.distillation.schedule import factor
from rdrkd.errors import StopRequested
from rdrkd.events import Calibrated, Checkpoint, Warn
from rdrkd.models import LoadedModel, build, save_student
from rdrkd.models.levels import forward
from rdrkd.models.pairs import check_pair
from rdrkd.process.devices import CPU, devices_of
from rdrkd.reporter import Reporter
from rdrkd.run_folder import checkpoint_files, checkpoints
from rdrkd.training import parallel, resume_state
from rdrkd.training.clipping import clip
from rdrkd.training.epoch_events import Dated, EpochEvents
from rdrkd.training.loading import EpochOrder, Seeded, seed_everything, training_loader
from rdrkd.training.nan_rollback import recover
from rdrkd.training.overrides import overrides
from rdrkd.training.panel import Panel, PanelValidator
from rdrkd.training.part import WHOLE, Part
from rdrkd.training.plan import Plan
from rdrkd.training.precision import dtype_of, scaler
from rdrkd.ultralytics_adapter import (
    RANK,
    DetectionModel,
    DetectionTrainer,
    compiled,
    provide_font,
    unwrap_model,
)

_EPOCHS = 10_000  # more than a training can have


class Trainer(DetectionTrainer):
    """Ultralytics' detection trainer of one plan in one run folder.

    Args:
        plan, data, run_dir, reporter, device: as of `train`.
        resume: checkpoint to resume from.
        part: the part of the run.

    Attributes:
        ranks: number of processes that train the student, each on its share of every batch.
    """

    def __init__(
        self,
        plan: Plan,
        data: Path,
        run_dir: Path,
        reporter: Reporter,
        device: str | None = None,
        resume: resume_state.Found | None = None,
        part: Part = WHOLE,
    ) -> None:
        self.plan, self.run_dir, self.reporter, self._resume = plan, run_dir, Dated(reporter), resume
        self.part = part
        devices = devices_of(device)
        self.ranks = len(devices)
        assert self.ranks == 1 or RANK >= 0, "several devices need a process each"
        provide_font()
        threads = torch.get_num_threads()  # in a rank: its share of the cores
        super().__init__(overrides=overrides(plan, data, run_dir, devices, resume))
        self.world_size: int
        if self.ranks > 1:
            self.world_size = self.ranks  # Ultralytics sets 0 for CPUs
            torch.set_num_threads(threads)  # Ultralytics sets the number of a single process
        self.dtype = dtype_of(plan.settings.amp, self.device)
        self.best_epoch: int | None = None
        self.recoveries = 0  # rollbacks after losses that were not finite
        self.last_step = -1  # iteration of the newest optimiser step
        self.tloss: dict[str, torch.Tensor | float]  # this epoch's means so far, by loss item
        self.validator: PanelValidator
        self.accumulate: int  # batches per optimiser step, chosen by Ultralytics
        self._iteration = 0
        self._gradients: dict[str, torch.Tensor] = {}  # accumulated before the run was resumed
        self._resumed = False  # and no optimiser step since
        self._calibration_reported = False
        self.epoch_events = EpochEvents(self, reporter)
        self.findings = Findings(plan.recipe.calibration)
        self.reports = Reports(run_dir, self.reporter)
        self.add_callback("on_train_epoch_start", type(self)._epoch_begins)
        self.add_callback("on_train_batch_start", type(self)._batch_begins)
        self.add_callback("on_train_batch_end", type(self)._batch_ended)
        self.add_callback("on_train_epoch_end", type(self)._epoch_ended)
        self.add_callback("on_val_batch_end", lambda _validator: self._check_stop())

    # -- Ultralytics' extension points

    def setup_model(self) -> None:
        """Build the student and, where there are terms, the pair."""
        if RANK >= 0:  # Ultralytics seeds each rank differently; the student must start as in one process
            torch.manual_seed(self.args.seed)
        names = [self.data["names"][index] for index in range(self.data["nc"])]
        start = self.plan.student
        student = build(start if isinstance(start, str) else start.model.yaml, names)
        if isinstance(start, LoadedModel):
            student.load(start.model, verbose=False)  # maps the class head by name
        student.args = self.args
        if not self.plan.recipe.terms:
            self.model = student
            return
        assert self.plan.teacher is not None
        check_pair(self.plan.teacher, student, self.plan.recipe.terms, self.args.imgsz)
        run = compiled(forward, self.device) if self.plan.settings.compile else forward
        self.model = Distiller(self.plan.teacher.model, student, self.plan.recipe, run)

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """Build the dataset of a split from exactly the images and labels that were checked."""
        stride = max(int(unwrap_model(self.model).stride.max()), 32)
        dataset = loaded(self.args, img_path, batch or 1, self.data, mode, rect=mode == "val", stride=stride)
        return Seeded(dataset, self.args.seed) if mode == "train" else dataset

    def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
        """Return our loader for training, a function of seed, epoch and index only; Ultralytics' for validation."""
        if mode != "train":
            return super().get_dataloader(dataset_path, batch_size, rank, mode)
        dataset = self.build_dataset(dataset_path, mode, batch_size)
        rectangular = dataset.rect and len({tuple(shape) for shape in dataset.batch_shapes}) > 1
        order = EpochOrder(len(dataset), self.args.seed, not rectangular, max(rank, 0), max(self.world_size, 1))
        order.epoch = self.ordinal(self.start_epoch)
        return training_loader(
            dataset, order, batch_size, self.args.workers, self.device, drop_last=self.plan.settings.compile
        )

    def _setup_ddp(self) -> None:
        """Join the other ranks: on GPUs as in Ultralytics, on CPUs over gloo."""
        if self.plan.settings.rect:
            self.reporter.emit(
                Warn(code="rect_off", message="train.rect is off: several devices cannot share its order of images")
            )
        if self.device.type != CPU:
            super()._setup_ddp()
            return
        parallel.join_over_gloo(self.ranks)
        self.world_size = 0  # else Ultralytics wraps the model for a GPU; see `_build_train_pipeline`

    def _build_train_pipeline(self) -> None:
        if self.ranks > 1 and self.device.type == CPU:
            self.model, self.world_size = parallel.averaging(self.model), self.ranks
        super()._build_train_pipeline()
        self.amp, self.scaler = self.dtype is not None, scaler(self.dtype, self.device)
        if self.batch_size < self.plan.settings.batch:
            self.reporter.emit(
                Warn(
                    code="batch_reduced",
                    message=f"out of memory with batches of {self.plan.settings.batch} images: "
                    f"training continues with {self.batch_size} (train.batch)",
                )
            )

    def get_validator(self) -> PanelValidator:
        """Return Ultralytics' validator for the student alone, which also keeps the detections in a few images."""
        validator = PanelValidator(
            self.test_loader, save_dir=self.save_dir, args=copy(self.args), _callbacks=self.callbacks
        )
        if RANK < 1 and self.part.name == WHOLE.name:
            validator.panel = Panel(self.run_dir, self.reporter)
            validator.teacher = None if self.distiller is None else self.distiller.teacher_model
            validator.dtype = self.dtype
        return validator

    def resume_training(self, ckpt: Any) -> None:
        """Resume from the given checkpoint, or start with a clean folder."""
        if self._resume is None:
            if RANK < 1:
                checkpoint_files.clear(self.run_dir, self.part.name)
            return
        saved = self._resume.state()  # large: freed after this method
        resume_state.restore(self, saved)
        self.start_epoch = saved["epoch"]
        self.train_loader.sampler.epoch = self.ordinal(self.start_epoch)
        self.last_step, self._gradients, self._resumed = saved["last_step"], saved["gradients"], True
        if RANK < 1:
            checkpoint_files.copy(self._resume.folder, self.run_dir, checkpoint_files.OF_TRAINING)

    def optimizer_step(self) -> None:
        """Step as Ultralytics does, but with our clipping; record the iteration for a resumed run."""
        self.scaler.unscale_(self.optimizer)
        clip(self.model)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.ema:
            self.ema.update(self.model)
        self.last_step, self._resumed = self._iteration, False

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Prepare a batch, after Ultralytics has set `accumulate` and before it checks whether a step is due.

        After a resume Ultralytics counts from -1; `accumulate` is adjusted so that the first step is due on time.
        """
        self._accumulate = self.accumulate
        if self._resumed:
            self.accumulate += self.last_step + 1
        prepared: dict[str, Any] = super().preprocess_batch(batch)
        return prepared

    def _close_dataloader_mosaic(self) -> None:
        super()._close_dataloader_mosaic()
        self.train_loader.sampler.epoch = self.ordinal(self.epoch)  # the loader is restarted after this

    def save_model(self) -> bool:
        """Report the epoch, and write the checkpoint and, if this is the best epoch, the student's weights.

        Ultralytics' own pickled wrapper is not written: plain Ultralytics could not load it.
        """
        self.epoch_events.epoch_ended()
        tensors = self.ema.ema.state_dict().values()
        if not all(tensor.isfinite().all() for tensor in tensors):
            self.reporter.emit(Warn(code="checkpoint_skipped", message="the averaged weights are not finite"))
            return False
        is_best = self.best_fitness == self.fitness
        if is_best or not (self.run_dir / f"{self.part.name}.pt").exists():
            self.best_epoch = self.epoch + 1
            settings = self.plan.settings.model_dump(mode="json")
            save_student(student_of(self.ema.ema), self.run_dir, settings, self.part.name)
        self.reports.refresh()
        if self.validator.panel is not None:
            self.validator.panel.refresh(self.validator, self.number)
        folder = checkpoints.write(self.run_dir, self.number, self._fill)
        self.reporter.emit(
            Checkpoint(
                epoch=self.number,
                folder=str(folder.relative_to(self.run_dir)),
                files=sorted(path.name for path in folder.iterdir()),
                is_best=bool(is_best) and self.part.name == "student",  # the run's result
                metrics=self.epoch_events.figures(),
            )
        )
        return True

    def _fill(self, folder: Path) -> None:
        resume_state.write(resume_state.capture(self), folder / checkpoints.STATE)
        checkpoint_files.copy(self.run_dir, folder, checkpoint_files.CARRIED)

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """Roll back to the newest checkpoint if a loss or the fitness is not finite, three times at most."""
        return recover(self, epoch)

    def label_loss_items(self, loss_items: Any = None, prefix: str = "train") -> Any:
        """Name the losses for `results.csv`; for validation only the task's: no distillation term is computed there."""
        named = super().label_loss_items(loss_items, prefix)
        terms = {f"val/{term.name}" for term in self.plan.recipe.terms}
        kept = [name for name in named if name not in terms]
        return kept if loss_items is None else {name: named[name] for name in kept}

    def final_eval(self) -> None:
        """Do nothing: the run evaluates the exported student by the COCO protocol."""

    def plot_training_labels(self) -> None:
        """Do nothing: no plots are written."""

    # -- around epochs and batches

    @property
    def distiller(self) -> Distiller | None:
        """The pair, where there is one."""
        model = unwrap_model(self.model)
        return model if isinstance(model, Distiller) else None

    def _epoch_begins(self) -> None:
        seed_everything(self.args.seed, self.ordinal(self.epoch), max(RANK, 0))
        self.epoch_events.epoch_begins()
        self.reporter.epoch = self.number
        for name, parameter in unwrap_model(self.model).named_parameters():
            if name in self._gradients:
                parameter.grad = self._gradients[name].to(parameter.device)
        self._gradients = {}
        if self.distiller is not None:
            self.distiller.probe.wanted = True
            self.distiller.probe.loss_scale = self.scaler.get_scale  # 1 without AMP

    @property
    def number(self) -> int:
        """Number of the current epoch within the run, 1-based."""
        return self.part.before + int(self.epoch) + 1

    def ordinal(self, epoch: int) -> int:
        """Return an epoch's number for order and seeds; a rollback changes it, else the same loss would recur."""
        return epoch + _EPOCHS * self.recoveries

    def _batch_begins(self) -> None:
        self._iteration = self.epoch_events.batches + len(self.train_loader) * self.epoch
        if self.distiller is not None:
            done = self.epoch + self.epoch_events.batches / len(self.train_loader)
            self.distiller.factor = factor(self.plan.recipe.schedule, done, self.epochs)

    def _batch_ended(self) -> None:
        self.accumulate = self._accumulate
        self._check_stop()
        self.epoch_events.batch_ended()
        if self.distiller is not None:
            self._report_probe(self.distiller)

    def _epoch_ended(self) -> None:
        """Check that all ranks hold the same student, and average their losses."""
        if self.ranks == 1:
            return
        parallel.check_same(self.model, self.epoch + 1)
        self.tloss = dict(zip(self.tloss, mean([float(value) for value in self.tloss.values()]), strict=True))

    def _report_probe(self, pair: Distiller) -> None:
        """Report the findings of a probe, and calibrated weights."""
        if pair.probe.fresh:
            pair.probe.fresh = False
            for warning in self.findings.of(pair.probe.found, pair.weights):
                self.reporter.emit(warning)
        if pair.calibrator is not None and pair.calibrator.done and not self._calibration_reported:
            self._calibration_reported = True
            self.reporter.emit(Calibrated(weights=pair.weights, measured=pair.calibrator.measured))

    def _check_stop(self) -> None:
        if self.reporter.should_stop():
            raise StopRequested("asked to stop; the newest checkpoint is kept")


def student_of(model: torch.nn.Module) -> DetectionModel:
    """Return the student of a model that may be a pair."""
    model = unwrap_model(model)
    return model.student_model if isinstance(model, Distiller) else model
