"""A whole run in its folder: resolve the spec, train, evaluate or export, leave `result.json`. Again, it goes on."""

import json
import platform
import resource
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rdrkd import __version__
from rdrkd.data import Dataset, open_dataset
from rdrkd.data.check import check
from rdrkd.devices import devices_of
from rdrkd.diagnostics.report import Reports
from rdrkd.errors import FolderError, ModelError, Problem, SpecError, StopRequested, TeacherError
from rdrkd.evaluate import evaluate
from rdrkd.events import Progress, Resolved, Warn
from rdrkd.export.run import export
from rdrkd.files import file_sha256, held, write_atomically
from rdrkd.models import LoadedModel, load_weights
from rdrkd.models.weights import parameters_of
from rdrkd.recorder import Recorder
from rdrkd.reporter import Reporter
from rdrkd.spec import (
    Architecture,
    Compare,
    Distill,
    Evaluate,
    Export,
    LocalModel,
    ModelRef,
    RunSpec,
    Train,
    references,
)
from rdrkd.spec.resolved import with_defaults
from rdrkd.study.compare import compare
from rdrkd.training.plan import Plan
from rdrkd.training.train import train
from rdrkd.ultralytics_adapter import ULTRALYTICS_VERSION, get_flops

WEIGHTS = ("student.pt", "student.safetensors")
_NAMING = ("name", "dataset", "labels", "priority", "timeout_seconds", "deadline")  # of a spec: they decide no outcome


@dataclass(frozen=True)
class Inputs:
    """Where the spec's references lie on this machine; a spec's own paths need none.

    Attributes:
        cache: folder in which archives are unpacked once; by default the run folder.
        device: `cpu`, a CUDA index, None for the GPU where there is one, or a list to train on (`0,1`; `cpu,cpu`), of
            which the first evaluates.
        lenient: leave out what is at fault in the dataset's archive (`rdrkd.data.lenient`), as its check has done.
    """

    teacher: Path | None = None
    student: Path | None = None
    model: Path | None = None
    dataset: Path | None = None
    cache: Path | None = None
    device: str | None = None
    lenient: bool = False


def run(spec: RunSpec, run_dir: Path, reporter: Reporter, inputs: Inputs | None = None) -> dict[str, Any]:
    """Do what the spec says and give the result, which is also in `run_dir/result.json`.

    A finished folder gives its result again; an unfinished one goes on from its newest checkpoint.

    Raises:
        RdrkdError: a subclass whose `reason` says why the run ended; `StopRequested` when the reporter asked.
    """
    run_dir = run_dir.resolve()
    with held(run_dir):
        return _run(spec, run_dir, reporter, inputs or Inputs())


def _run(spec: RunSpec, run_dir: Path, reporter: Reporter, inputs: Inputs) -> dict[str, Any]:
    begun_with, own = _read_json(run_dir / "spec.json"), spec.model_dump(mode="json")
    if begun_with is not None and _deciding(begun_with) != _deciding(own):
        raise FolderError(f"expected a new run folder or one of this very spec, got {run_dir.name} with another spec")
    finished = run_dir / "result.json"
    if finished.is_file() and begun_with == own:
        return _result(finished)
    devices_of(inputs.device)  # refused before anything is unpacked
    started = time.monotonic()
    reporter = Recorder(reporter, run_dir)
    reporter.emit(Progress(phase="preparing"))
    dataset = open_dataset(_dataset_path(spec, inputs), inputs.cache or run_dir / "dataset", lenient=inputs.lenient)
    resolved = _resolved(spec, dataset, inputs)
    _same_inputs(run_dir / "resolved_spec.json", resolved)  # until here nothing of an earlier run is touched
    _write_json(run_dir / "spec.json", own)
    if finished.is_file():  # under other names or paths, of the same content
        return _result(finished)
    if inputs.dataset is None:  # a path of the command line: nobody has looked at it yet
        _check(dataset, reporter)
    _write_json(run_dir / "resolved_spec.json", resolved)
    reporter.emit(Resolved(resolved_spec=resolved))
    if isinstance(spec, Distill) and (message := spec.short_schedule):
        reporter.emit(Warn(code="schedule_short", message=message))
    if isinstance(spec, Evaluate):
        result = _evaluate(spec, dataset, reporter, inputs)
    elif isinstance(spec, Export):
        result = _export(spec, dataset, run_dir, reporter, inputs)
    elif isinstance(spec, Compare):
        result = compare(run_dir, dataset)
    else:
        try:
            result = _train(spec, dataset, run_dir, reporter, inputs)
        except StopRequested:
            raise  # who asked waits
        except Exception:
            with suppress(Exception):  # whatever befalls the report, the error that is told is the training's
                Reports(run_dir, reporter).write()
            raise
    result = {"kind": spec.kind, **result, **_cost(started, inputs.device)}
    if isinstance(spec, Distill | Train):  # the others have no epochs to tell of
        Reports(run_dir, reporter).write(result)  # before the result: a folder that has one is never touched again
    _write_json(finished, result)
    return result


def _result(finished: Path) -> dict[str, Any]:
    done: dict[str, Any] = json.loads(finished.read_text())
    return done


def _deciding(spec: dict[str, Any]) -> dict[str, Any]:
    """What of a spec decides the outcome: no names and no paths, whose content `_same_inputs` compares."""
    kept = {key: value for key, value in spec.items() if key not in _NAMING}
    return {key: "path" if isinstance(value, dict) and "path" in value else value for key, value in kept.items()}


def _same_inputs(path: Path, resolved: dict[str, Any]) -> None:
    """Refuse to go on with another dataset or other models than the run was begun with."""
    earlier = (_read_json(path) or resolved)["provenance"]
    for key in ("dataset_sha256", "model_sha256"):
        if earlier[key] != resolved["provenance"][key]:
            what = "dataset" if key == "dataset_sha256" else "models"
            raise FolderError(f"expected the {what} that this run was begun with ({earlier[key]}), got others")


def _check(dataset: Dataset, reporter: Reporter) -> None:
    """Refuse a dataset with faults, which Ultralytics would pass over in silence."""
    findings = check(dataset)
    for warning in findings.warnings:
        reporter.emit(Warn(code="dataset", message=warning))
    findings.refuse_problems()


def _train(
    spec: Distill | Train, dataset: Dataset, run_dir: Path, reporter: Reporter, inputs: Inputs
) -> dict[str, Any]:
    data = run_dir / "data.yaml"
    dataset.write_yaml(data)
    best_epoch = train(_plan(spec, inputs), data, run_dir, reporter, inputs.device)
    settings, student = spec.train, run_dir / WEIGHTS[0]
    metrics = evaluate(
        student, dataset, settings.imgsz, settings.batch, "val", inputs.device, reporter, settings.single_cls
    )
    return {
        "best_epoch": best_epoch,
        "epochs": len((run_dir / "metrics.jsonl").read_text().splitlines()),
        **_figures(metrics),
        "student": _card(load_weights(student), settings.imgsz),
        "weights": {name: _file(run_dir / name) for name in WEIGHTS if (run_dir / name).is_file()},
    }


def _evaluate(spec: Evaluate, dataset: Dataset, reporter: Reporter, inputs: Inputs) -> dict[str, Any]:
    settings = spec.evaluation
    path = _path(spec.model, inputs.model, "model")
    metrics = evaluate(path, dataset, settings.imgsz, settings.batch, settings.split, inputs.device, reporter)
    return {**_figures(metrics), "student": _card(load_weights(path), settings.imgsz)}


def _export(spec: Export, dataset: Dataset, run_dir: Path, reporter: Reporter, inputs: Inputs) -> dict[str, Any]:
    path = _path(spec.model, inputs.model, "model")
    result = export(path, dataset, spec.export, run_dir, reporter, inputs.device)
    return {**result, "student": _card(load_weights(path), spec.export.imgsz)}


def _plan(spec: Distill | Train, inputs: Inputs) -> Plan:
    if isinstance(spec, Train):
        return Plan(_start(spec.model, inputs.model, "model"), spec.train)
    student = _start(spec.student, inputs.student, "student")
    if not spec.distillation.recipe.terms:  # the preset `none`: the student alone
        return Plan(student, spec.train)
    try:
        teacher = load_weights(_path(spec.teacher, inputs.teacher, "teacher"))
    except ModelError as error:
        raise TeacherError(f"the teacher cannot be loaded: {error}", error.problems) from error
    return Plan(student, spec.train, teacher, spec.distillation.recipe)


def _start(reference: ModelRef, given: Path | None, field: str) -> str | LoadedModel:
    if isinstance(reference, Architecture):
        return str(reference.architecture)
    return load_weights(_path(reference, given, field))


def _path(reference: ModelRef, given: Path | None, field: str) -> Path:
    """Where a reference's weights lie: as given for this machine, or the spec's own path."""
    if given is not None:
        return given
    if isinstance(reference, LocalModel):
        return Path(reference.path)
    raise SpecError(
        f"expected the path of the {field}'s weights (--{field} PATH), got only an id",
        [Problem(f"/{field}", "an id; this machine needs a path")],
    )


def _dataset_path(spec: RunSpec, inputs: Inputs) -> Path:
    return inputs.dataset if inputs.dataset is not None else Path(spec.dataset)


def _figures(metrics: dict[str, Any]) -> dict[str, Any]:
    return {"metrics": {k: v for k, v in metrics.items() if k != "per_class"}, "per_class": metrics["per_class"]}


def _card(loaded: LoadedModel, imgsz: int) -> dict[str, Any]:
    """Size of the network that is handed back."""
    return {
        "architecture": loaded.architecture,
        "parameters": parameters_of(loaded.model),
        "gflops": round(float(get_flops(loaded.model, imgsz)), 3),
        "imgsz": imgsz,
        "names": list(loaded.names),
    }


def _cost(started: float, device: str | None) -> dict[str, Any]:
    """What this run has taken: seconds since it began or resumed, and the peak of the memory that counts.

    Of several ranks on the CPU it is the largest one's; on GPUs it is this process's alone, which only evaluates then.
    """
    devices = devices_of(device)
    on_gpu = devices[0].isdecimal()
    name = torch.cuda.get_device_name(int(devices[0])) if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    kibibytes = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "seconds": round(time.monotonic() - started, 1),
        "memory_bytes": torch.cuda.max_memory_allocated(int(devices[0])) if on_gpu else kibibytes * 1024,
        "device": name if len(devices) == 1 else f"{len(devices)} x {name}",
    }


def _resolved(spec: RunSpec, dataset: Dataset, inputs: Inputs) -> dict[str, Any]:
    """The spec with every default, the expanded terms, and what else decides the outcome."""
    content = with_defaults(spec)
    alone = isinstance(spec, Distill) and not spec.distillation.recipe.terms  # the preset `none` opens no teacher
    models = {
        field: _sha256(_path(reference, getattr(inputs, field), field))
        for field, reference in references(spec).items()
        if not isinstance(reference, Architecture) and not (alone and field == "teacher")
    }
    content["provenance"] = {
        "dataset_sha256": dataset.sha256,
        "classes": list(dataset.names),
        "model_sha256": models,
        "device": inputs.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        "versions": {
            "rdrkd": __version__,
            "ultralytics": ULTRALYTICS_VERSION,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }
    return content


def _file(path: Path) -> dict[str, Any]:
    return {"sha256": _sha256(path), "size": path.stat().st_size}


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise ModelError(f"expected a weights file, got nothing at {path.name}")
    return file_sha256(path)


def _read_json(path: Path) -> Any:
    """Give a file's content; None where there is none."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise FolderError(f"expected JSON in the run folder's {path.name}, got: {error}") from error


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(content, indent=2).encode())
