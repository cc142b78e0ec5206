"""A training from its plan to its result: train, evaluate, compare with the teacher, and say what looks wrong."""

import json
from pathlib import Path
from typing import Any

from rdrkd import doubts
from rdrkd.data import Dataset
from rdrkd.evaluation.evaluate import evaluate
from rdrkd.events import Warn
from rdrkd.files import file_sha256
from rdrkd.models import LoadedModel, load_weights
from rdrkd.models.weights import parameters_of
from rdrkd.reporter import Reporter
from rdrkd.run import first_look
from rdrkd.run.comparison import compared, entry
from rdrkd.run.load_models import Inputs
from rdrkd.run_folder.names import METRICS
from rdrkd.spec import Architecture, Distill, LocalModel, ModelRef, Train
from rdrkd.training.plan import Plan
from rdrkd.training.train import train as train_plan
from rdrkd.ultralytics_adapter import get_flops

WEIGHTS = ("student.pt", "student.safetensors")
_SPLIT = "val"


def train(
    spec: Distill | Train, plan: Plan, dataset: Dataset, run_dir: Path, reporter: Reporter, inputs: Inputs
) -> dict[str, Any]:
    """Train a plan and return its result."""
    doubted = list(first_look.warnings_of(plan.settings, dataset))
    for warning in doubted:
        reporter.emit(warning)
    data = run_dir / "data.yaml"
    dataset.write_yaml(data)
    best_epoch = train_plan(plan, data, run_dir, reporter, inputs.device)
    training = _cost_of(run_dir) | {"best_epoch": best_epoch}
    student = run_dir / WEIGHTS[0]
    metrics = _evaluated(student, plan, dataset, reporter, inputs)
    comparison = _compared(spec, plan, metrics, training, dataset, reporter, inputs, student)
    teacher = comparison["teacher"]["AP"] if comparison and comparison["teacher"] else None
    for warning in (late := list(doubts.of_results(metrics["coco"]["AP"], None, teacher))):
        reporter.emit(warning)
    return {
        "best_epoch": best_epoch,
        "epochs": training["epochs"],
        **figures(metrics),
        "student": card(load_weights(student), plan.settings.imgsz),
        **({"comparison": comparison} if comparison else {}),
        "warnings": [_said(warning) for warning in (*doubted, *late)],
        "weights": {name: _file(run_dir / name) for name in WEIGHTS if (run_dir / name).is_file()},
    }


def _compared(
    spec: Distill | Train,
    plan: Plan,
    metrics: dict[str, Any],
    training: dict[str, Any],
    dataset: Dataset,
    reporter: Reporter,
    inputs: Inputs,
    student: Path,
) -> dict[str, Any] | None:
    """Return the comparison of a distillation; None where nobody was taught."""
    if not isinstance(spec, Distill) or plan.teacher is None:
        return None
    imgsz = plan.settings.imgsz
    assert plan.teacher.path is not None
    of_teacher = _evaluated(plan.teacher.path, plan, dataset, reporter, inputs)
    teacher = entry(name_of(spec.teacher), plan.teacher, of_teacher, imgsz)
    return compared(
        _SPLIT, teacher, None, entry(name_of(spec.student), load_weights(student), metrics, imgsz, training)
    )


def _evaluated(weights: Path, plan: Plan, dataset: Dataset, reporter: Reporter, inputs: Inputs) -> dict[str, Any]:
    settings = plan.settings
    return evaluate(
        weights, dataset, settings.imgsz, settings.batch, _SPLIT, inputs.device, reporter, settings.single_cls
    )


def _cost_of(run_dir: Path) -> dict[str, Any]:
    """Return how many epochs a training has taken, and their seconds, resumed or not."""
    epochs = [json.loads(line) for line in (run_dir / METRICS).read_text().splitlines()]
    return {"epochs": len(epochs), "seconds": round(sum(epoch["seconds"] for epoch in epochs), 1)}


def name_of(reference: ModelRef) -> str:
    """Return what people call a model; of a path only the file."""
    match reference:
        case Architecture():
            return str(reference.architecture)
        case LocalModel():
            return Path(reference.path).name
        case _:
            return str(next(iter(reference.model_dump(exclude_none=True).values())))


def figures(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics as a result has them: by class beside the others."""
    return {"metrics": {k: v for k, v in metrics.items() if k != "per_class"}, "per_class": metrics["per_class"]}


def card(loaded: LoadedModel, imgsz: int) -> dict[str, Any]:
    """Return the size of the network that is handed back."""
    return {
        "architecture": loaded.architecture,
        "parameters": parameters_of(loaded.model),
        "gflops": round(float(get_flops(loaded.model, imgsz)), 3),
        "imgsz": imgsz,
        "names": list(loaded.names),
    }


def _said(warning: Warn) -> dict[str, str]:
    return {"code": warning.code, "message": warning.message}


def _file(path: Path) -> dict[str, Any]:
    return {"sha256": file_sha256(path), "size": path.stat().st_size}
