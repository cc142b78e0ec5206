"""Execute a spec in a run folder: resolve it, train, evaluate or export, and write `result.json`; rerun to resume."""

import json
import platform
import resource
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from rdrkd import __version__
from rdrkd.data import Dataset, open_dataset
from rdrkd.data.check import check
from rdrkd.diagnostics.run_report import Reports
from rdrkd.errors import FolderError, StopRequested
from rdrkd.evaluation.evaluate import evaluate
from rdrkd.events import Progress, Resolved, Warn
from rdrkd.export.run import export
from rdrkd.files import held, write_json
from rdrkd.models import LoadedModel
from rdrkd.process.devices import devices_of
from rdrkd.reporter import Reporter
from rdrkd.run import identity, model_card
from rdrkd.run.comparison import card
from rdrkd.run.load_models import Inputs as Inputs
from rdrkd.run.load_models import check_classes, open_models, path_of
from rdrkd.run.training import figures, train
from rdrkd.run_folder import checkpoints
from rdrkd.run_folder.folder import Begun
from rdrkd.run_folder.names import CALLED, RESULT
from rdrkd.run_folder.recorder import Recorder
from rdrkd.spec import Distill, Evaluate, Export, RunSpec, Train
from rdrkd.spec.resolved import with_defaults
from rdrkd.training.plan import Plan
from rdrkd.ultralytics_adapter import ULTRALYTICS_VERSION


def run(spec: RunSpec, run_dir: Path, reporter: Reporter, inputs: Inputs | None = None) -> dict[str, Any]:
    """Execute the spec and return the result, which is also written to `run_dir/result.json`.

    For a finished folder, return its result; an unfinished one resumes from its newest checkpoint.

    Raises:
        RdrkdError: a subclass whose `reason` tells why the run ended; `StopRequested` when the reporter requested it.
    """
    run_dir = run_dir.resolve()
    with held(run_dir):
        return _run(spec, run_dir, reporter, inputs or Inputs())


def _run(spec: RunSpec, run_dir: Path, reporter: Reporter, inputs: Inputs) -> dict[str, Any]:
    begun = Begun(run_dir, spec)
    if begun.finished and begun.same:
        begun.check_inputs(identity.at_hand(spec, inputs, inputs.cache or run_dir / "dataset"))
        return begun.result()
    reporter = Recorder(reporter, run_dir)
    try:
        return _go(spec, run_dir, begun, reporter, inputs)
    except (StopRequested, FolderError):
        raise  # leave another run's folder unchanged
    except Exception as error:
        if not begun.finished:
            with suppress(Exception):  # a failure to report it must not replace the run's error
                begun.fail(error)
                if isinstance(spec, Distill | Train):
                    Reports(run_dir, reporter).write()
        raise


def _go(spec: RunSpec, run_dir: Path, begun: Begun, reporter: Reporter, inputs: Inputs) -> dict[str, Any]:
    """Execute the spec; all checks come before the run begins, the cheap ones first."""
    started = time.monotonic()
    reporter.emit(Progress(phase="preparing"))
    if not begun.finished:
        begun.prepare()
    devices = devices_of(inputs.device)
    opened = None if begun.finished else open_models(spec, inputs, devices, checkpoints.complete(run_dir))
    cache = inputs.cache or run_dir / "dataset"
    dataset = open_dataset(identity.dataset_path(spec, inputs), cache, reading=inputs.reading)
    resolved = _resolved(spec, dataset, inputs, _called(run_dir))
    begun.check_inputs(resolved["provenance"])  # up to here, an earlier run's files are unchanged
    if begun.finished:  # perhaps with other names or paths, but the same content
        begun.name()
        return begun.result()
    check_classes(spec, opened, dataset, len(devices))
    if inputs.dataset is None:  # a path from the command line: not checked yet
        _check(dataset, reporter)
    begun.begin(resolved)
    reporter.emit(Resolved(resolved_spec=resolved))
    if isinstance(spec, Distill) and (message := spec.short_schedule):
        reporter.emit(Warn(code="schedule_short", message=message))
    match spec, opened:
        case Distill() | Train() as job, Plan() as plan:
            result = train(job, plan, dataset, run_dir, reporter, inputs, _called(run_dir))
        case Evaluate() as job, LoadedModel() as model:
            result = _evaluate(job, model, dataset, reporter, inputs)
        case Export() as job, LoadedModel() as model:
            result = _export(job, model, dataset, run_dir, reporter, inputs)
        case _:
            from rdrkd.study.compare import compare  # imports scipy, which takes a second

            result = compare(run_dir, dataset)
    result = {"kind": spec.kind, **result, **_cost(started, inputs.device)}
    if isinstance(spec, Distill | Train):  # other kinds have no epochs to report
        model_card.write(run_dir, resolved, result)
        Reports(run_dir, reporter).write(result)  # before the result: a folder that has one is never touched again
    write_json(run_dir / RESULT, result)
    return result


def _check(dataset: Dataset, reporter: Reporter) -> None:
    """Refuse a dataset with faults, which Ultralytics would silently ignore."""
    findings = check(dataset)
    for warning in findings.warnings:
        reporter.emit(Warn(code="dataset", message=warning))
    findings.refuse_problems()


def _evaluate(
    spec: Evaluate, model: LoadedModel, dataset: Dataset, reporter: Reporter, inputs: Inputs
) -> dict[str, Any]:
    settings, path = spec.evaluation, path_of(spec.model, inputs.model, "model")
    metrics = evaluate(path, dataset, settings.imgsz, settings.batch, settings.split, inputs.device, reporter)
    return {**figures(metrics), "student": card(model, settings.imgsz)}


def _export(
    spec: Export, model: LoadedModel, dataset: Dataset, run_dir: Path, reporter: Reporter, inputs: Inputs
) -> dict[str, Any]:
    path = path_of(spec.model, inputs.model, "model")
    result = export(path, dataset, spec.export, run_dir, reporter, inputs.device)
    return {**result, "student": card(model, spec.export.imgsz)}


def _cost(started: float, device: str | None) -> dict[str, Any]:
    """Return the cost of this run: seconds since it began or resumed, and peak memory.

    With several ranks on the CPU, the memory is the largest rank's; on GPUs, this process's, which only evaluates.
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


def _called(run_dir: Path) -> dict[str, str]:
    """Return the display names of the models and the dataset, if the process that started this run has stored them."""
    file = run_dir / CALLED
    return dict(json.loads(file.read_text())) if file.is_file() else {}


def _resolved(spec: RunSpec, dataset: Dataset, inputs: Inputs, called: dict[str, str]) -> dict[str, Any]:
    """Return the spec with every default, the expanded terms, and everything else that determines the outcome."""
    content = with_defaults(spec)
    content["provenance"] = {
        "dataset_sha256": dataset.sha256,
        "classes": list(dataset.names),
        **({"names": called} if called else {}),
        "reading": inputs.reading.variant,
        **({"divide": dataset.divide} if dataset.divide else {}),
        **({"scaling": [dataset.scaling.low, dataset.scaling.high]} if dataset.scaling else {}),
        "model_sha256": identity.of_models(spec, inputs),
        "device": inputs.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        "versions": {
            "rdrkd": __version__,
            "ultralytics": ULTRALYTICS_VERSION,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }
    return content
