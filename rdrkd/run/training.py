"""A training from its plan to its result: train, evaluate, compare with the teacher, and warn."""

import filecmp
import gc
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from rdrkd import run_warnings
from rdrkd.data import Dataset
from rdrkd.distillation.enlarged_teacher import enlarged
from rdrkd.distillation.overlays import Overlays
from rdrkd.errors import NanLossError
from rdrkd.evaluation import pictures
from rdrkd.evaluation.evaluate import SINGLE, Collector, evaluate
from rdrkd.evaluation.gallery import Gallery
from rdrkd.evaluation.operating_points import threshold_of
from rdrkd.evaluation.pictures import Drawn
from rdrkd.events import Warn
from rdrkd.export.agreement import inputs, spread
from rdrkd.export.latency import machine, time_side_by_side
from rdrkd.export.networks import of_torch, place_of
from rdrkd.files import file_sha256
from rdrkd.models import LoadedModel, load_weights, save_student
from rdrkd.paths import without_paths
from rdrkd.process.devices import devices_of
from rdrkd.reporter import Reporter
from rdrkd.run import early_warnings
from rdrkd.run.comparison import card, compared, entry
from rdrkd.run.load_models import Inputs
from rdrkd.run_folder import checkpoint_files, checkpoints
from rdrkd.run_folder.names import METRICS, PREDICTIONS
from rdrkd.spec import Architecture, Distill, LocalModel, ModelRef, Pretrained, Train
from rdrkd.training.part import WHOLE, Part
from rdrkd.training.plan import Plan
from rdrkd.training.train import train as train_plan

WEIGHTS, ALONE = checkpoint_files.WEIGHTS["student"], checkpoint_files.WEIGHTS["alone"]
_PASSES = 10  # of one image per network, to measure latency
_SPLIT = "val"


def train(
    spec: Distill | Train,
    plan: Plan,
    dataset: Dataset,
    run_dir: Path,
    reporter: Reporter,
    inputs: Inputs,
    called: Mapping[str, str],
) -> dict[str, Any]:
    """Train a plan and return its result; `called` maps fields of the spec to display names of models."""
    device, random_start = devices_of(inputs.device)[0], isinstance(plan.student, str)
    doubted = list(early_warnings.warnings_of(plan.settings, dataset, device, random_start))
    doubted += run_warnings.of_inputs(_same_weights(plan))
    for warning in doubted:
        reporter.emit(warning)
    data = run_dir / "data.yaml"
    dataset.write_yaml(data)
    work = _Work(spec, plan, dataset, run_dir, reporter, inputs, called)
    baseline = isinstance(spec, Distill) and spec.baseline
    epochs = plan.settings.epochs
    of_student = Part(epochs=2 * epochs) if baseline else WHOLE
    if not checkpoints.complete(run_dir):
        _ = work.teacher  # evaluated now, not after hours of training with one that has nothing to teach
    training = work.trained(plan, of_student)
    alone = work.alone(Part(name="alone", before=epochs, epochs=2 * epochs)) if baseline else None
    student = run_dir / WEIGHTS[0]
    metrics = work.evaluated("student", student, run_dir if baseline else None)
    comparison = work.compared(metrics, training, alone)
    work.show_worst()
    aps = [comparison[who] and comparison[who]["AP"] for who in ("alone", "teacher")] if comparison else [None, None]
    late = list(run_warnings.of_results(metrics["coco"]["AP"], *aps))
    for warning in late:
        reporter.emit(warning)
    doubted += [*work.doubted, *late]
    said = {"warnings": [_said(warning) for warning in doubted], **({"comparison": comparison} if comparison else {})}
    return {
        "verdict": " ".join(run_warnings.verdict_of(said)),
        "best_epoch": training["best_epoch"],
        "epochs": training["epochs"],
        **figures(metrics),
        "student": card(load_weights(student), plan.settings.imgsz),
        **said,
        "weights": {name: _file(run_dir / name) for name in (*WEIGHTS, *ALONE) if (run_dir / name).is_file()},
    }


@dataclass(frozen=True)
class _Work:
    """The steps of a training, and what they share."""

    spec: Distill | Train
    plan: Plan
    dataset: Dataset
    run_dir: Path
    reporter: Reporter
    places: Inputs
    called: Mapping[str, str]
    doubted: list[Warn] = field(default_factory=list)
    gallery: Gallery = field(default_factory=Gallery)

    def trained(self, plan: Plan, part: Part) -> dict[str, Any]:
        """Train one part, and return its epochs and their seconds, resumed or not, and the best epoch."""
        best_epoch = train_plan(plan, self.run_dir / "data.yaml", self.run_dir, self.reporter, self.places.device, part)
        lines = [json.loads(line) for line in (self.run_dir / METRICS).read_text().splitlines()]
        seconds = {line["epoch"]: line["seconds"] for line in lines if line.get("part", "student") == part.name}
        return {"epochs": len(seconds), "seconds": round(sum(seconds.values()), 1), "best_epoch": best_epoch}

    def alone(self, part: Part) -> dict[str, Any] | None:
        """Train the student without its teacher; None if its loss repeatedly was not finite."""
        try:
            return self.trained(Plan(self.plan.student, self.plan.settings), part)
        except NanLossError as error:
            message = f"the student alone could not be trained, so there is nothing to compare with: {error}"
            warning = Warn(code="baseline_failed", message=f"{message}; try a smaller train.lr0")
            self.reporter.emit(warning)
            self.doubted.append(warning)
            return None

    def evaluated(self, who: str, weights: Path, plots: Path | None = None, imgsz: int | None = None) -> dict[str, Any]:
        """Evaluate weights on the validation images; write the curve and the confusion matrix to `plots`, if given."""
        settings = self.plan.settings
        ran: list[Collector] = []
        metrics = evaluate(
            weights, self.dataset, imgsz or settings.imgsz, settings.batch, _SPLIT, self.places.device, self.reporter,
            settings.single_cls, plots, ran.append,
        )  # fmt: skip
        self.gallery.add(who, ran[0], threshold_of(metrics))
        return metrics

    @cached_property
    def teacher(self) -> dict[str, Any] | None:
        """Metrics of the teacher at the input size at which it teaches, with a warning if it is unusable."""
        if self.plan.teacher is None:
            return None
        assert self.plan.teacher.path is not None
        imgsz = enlarged(self.plan.settings.imgsz, self.plan.recipe.teacher_scale)
        metrics = self.evaluated("teacher", self.plan.teacher.path, imgsz=imgsz)
        gc.collect()
        torch.cuda.empty_cache()  # or `batch: auto` would find less memory than the training has
        for warning in run_warnings.of_teacher(metrics["coco"]["AP"]):
            self.reporter.emit(warning)
            self.doubted.append(warning)
        return metrics

    def show_worst(self) -> None:
        """Write each network's detections in the images with the student's worst misses; warn if that fails."""
        settings = self.plan.settings
        try:
            maps = None
            if self.plan.teacher is not None:
                place = place_of(devices_of(self.places.device)[0])
                maps = Overlays(self.plan.teacher.model, self.plan.recipe, settings.imgsz, place)
            names = SINGLE if settings.single_cls else self.dataset.names
            self.gallery.write(self.dataset.read, _SPLIT, names, self.run_dir, maps)
        except Exception as error:  # noqa: BLE001  - failing pictures must not fail a training
            message = f"the predictions cannot be shown: {type(error).__name__}: {without_paths(str(error))}"
            self.reporter.emit(Warn(code="report_failed", message=message))

    def compared(
        self, metrics: dict[str, Any], training: dict[str, Any], alone: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """Return the comparison of a distillation; None for a training without a teacher."""
        if not isinstance(self.spec, Distill) or self.plan.teacher is None or self.teacher is None:
            return None
        imgsz, name = self.plan.settings.imgsz, self.called.get("student") or name_of(self.spec.student)
        loaded = {"teacher": self.plan.teacher, "student": load_weights(self.run_dir / WEIGHTS[0])}
        sides = {"teacher": enlarged(imgsz, self.plan.recipe.teacher_scale)}  # at which it teaches
        figures = {"teacher": self.teacher, "student": metrics}
        names = {
            "teacher": self.called.get("teacher") or name_of(self.spec.teacher),
            "student": name,
            "alone": f"{name} alone",
        }
        if alone is not None:
            loaded["alone"] = load_weights(self.run_dir / ALONE[0])
            figures["alone"] = self.evaluated("alone", self.run_dir / ALONE[0])
        latency = self._latency(loaded) if self.spec.baseline else {}
        made = {"student": training, "alone": alone}
        entries = {
            who: entry(names[who], each, figures[who], sides.get(who, imgsz), made.get(who), latency.get(who))
            for who, each in loaded.items()
        }
        if self.spec.baseline:
            self._draw({who: entries[who] for who in ("teacher", "alone", "student") if who in entries}, loaded)
        return compared(_SPLIT, entries["teacher"], entries.get("alone"), entries["student"])

    def _draw(self, entries: Mapping[str, dict[str, Any]], loaded: Mapping[str, LoadedModel]) -> None:
        """Draw each network's detections in some images, from its best-F1 confidence on."""
        with tempfile.TemporaryDirectory(prefix="rdrkd-predictions-") as folder:
            drawn = {}
            for who, network in entries.items():  # rewritten: plain Ultralytics must not load an untrusted file
                save_student(loaded[who].model, Path(folder), {}, who)
                drawn[who] = Drawn(Path(folder, f"{who}.pt"), threshold_of(network))
            pictures.compare(self.dataset, drawn, self.run_dir / PREDICTIONS, self.plan.settings.imgsz)

    def _latency(self, loaded: dict[str, LoadedModel]) -> dict[str, Any]:
        """Time one image through each network, in turn, on the device that evaluates."""
        place, imgsz = devices_of(self.places.device)[0], self.plan.settings.imgsz
        images = list(inputs(map(self.dataset.read, spread(self.dataset.images(_SPLIT), 1)), imgsz, imgsz))
        networks = {who: of_torch(each, place) for who, each in loaded.items()}
        times = time_side_by_side(networks, images, _PASSES)
        return {who: {**each, "imgsz": imgsz, **machine(place)} for who, each in times.items()}


def _same_weights(plan: Plan) -> bool:
    """Return whether the student starts from the teacher's file or a copy of it."""
    if isinstance(plan.student, str) or plan.teacher is None or not (plan.student.path and plan.teacher.path):
        return False
    return filecmp.cmp(plan.student.path, plan.teacher.path, shallow=False)  # reads them only if they are of one size


def name_of(reference: ModelRef) -> str:
    """Return a model's display name; for a path, the file name only."""
    match reference:
        case Architecture():
            return str(reference.architecture)
        case Pretrained():
            return f"{reference.architecture}.pt"
        case LocalModel():
            return Path(reference.path).name
        case _:
            return str(next(iter(reference.model_dump(exclude_none=True).values())))


def figures(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics in the form of a result: per-class figures beside the others."""
    return {"metrics": {k: v for k, v in metrics.items() if k != "per_class"}, "per_class": metrics["per_class"]}


def _said(warning: Warn) -> dict[str, str]:
    return {"code": warning.code, "message": warning.message}


def _file(path: Path) -> dict[str, Any]:
    return {"sha256": file_sha256(path), "size": path.stat().st_size}
