"""`rdrkd distill`, `train`, `evaluate`, `export` and `compare`: runs on this machine.

torch and Ultralytics are imported only after the environment has been set up.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from rdrkd.cli import distill_here, distill_inputs, distill_options
from rdrkd.cli.choices import input_side
from rdrkd.cli.distill_options import Baseline, Batch, Epochs, Imgsz, PresetName, RunName
from rdrkd.cli.expected_spec import expect_spec, sort_of
from rdrkd.cli.options import (
    Cache,
    Data,
    DatasetPath,
    Device,
    Events,
    Model,
    RunDir,
    RunDirByName,
    Spec,
    SpecOrOptions,
    number,
)
from rdrkd.cli.reading import takes_reading
from rdrkd.cli.run_output import People
from rdrkd.errors import DatasetError, FolderError, MachineError, ModelError, PairError, RdrkdError, SpecError
from rdrkd.events import Progress
from rdrkd.files import claim, held
from rdrkd.process.process import Stoppable, conclude, events_stream
from rdrkd.reporter import JsonLines, Reporter
from rdrkd.run_folder.names import METRICS

if TYPE_CHECKING:
    from rdrkd.data.reading import Reading
    from rdrkd.spec import RunSpec


_KINDS = ("distill", "train", "evaluate", "export")
_EXPECTED = {"dataset": "a dataset"}  # in an option beside a spec; all others name weights


@takes_reading
def distill(
    spec: SpecOrOptions = None,
    run_dir: RunDirByName = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="Teacher weights, or official weights such as yolov8l.pt; with a spec, if it refers to them by id.",
            show_default=False,
        ),
    ] = None,
    student: Annotated[
        str | None,
        typer.Option(
            help="Architecture such as yolov8n, a file of initial weights, or official weights such as yolov8n.pt.",
            show_default=False,
        ),
    ] = None,
    data: Data = None,
    epochs: Epochs = None,
    imgsz: Imgsz = None,
    batch: Batch = None,
    preset: PresetName = None,
    name: RunName = None,
    baseline: Baseline = None,
    cache: Cache = None,
    *,
    reading: "Reading",
    device: Device = None,
    events: Events = False,
) -> None:
    """Distil a student from a teacher: `--teacher l.pt --student yolov8n --data scenes.zip`, or a spec.

    Exit status 3 if the run is refused or fails, 75 if it was stopped and can be resumed.
    """
    of_spec = distill_options.asked(
        {"epochs": epochs, "imgsz": imgsz, "batch": batch, "preset": preset, "name": name, "baseline": baseline}
    )
    if spec is not None:
        distill_options.refuse_with_spec(spec, "distill", of_spec)
        paths = {"teacher": teacher, "student": Path(student) if student else None, "dataset": data, "cache": cache}
        _run("distill", spec, run_dir, paths, reading, device, events)
    options = of_spec | distill_options.asked(
        {"teacher": teacher and str(teacher), "student": student, "data": data and str(data), "device": device}
    )
    distill_options.require(options, "teacher", "student", "data")
    folder = run_dir or distill_options.folder_of(distill_options.name_of(options))
    _from_options(options, folder, distill_inputs.local, distill_here.chosen_here, cache, reading, events)


@takes_reading
def train(
    spec: SpecOrOptions = None,
    run_dir: RunDirByName = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Architecture such as yolov8l, a file of initial weights, or official weights such as yolov8l.pt.",
            show_default=False,
        ),
    ] = None,
    data: Data = None,
    epochs: Epochs = None,
    imgsz: Annotated[
        int | None,
        typer.Option(
            parser=number,
            min=32,
            help="Side of the network input, px; default: that of the initial weights' training, or 640.",
            show_default=False,
        ),
    ] = None,
    batch: Batch = None,
    name: RunName = None,
    cache: Cache = None,
    *,
    reading: "Reading",
    device: Device = None,
    events: Events = False,
) -> None:
    """Train one model alone, such as a teacher: `--model yolov8l.pt --data scenes.zip`, or a spec.

    Exit status 3 if the run is refused or fails, 75 if it was stopped and can be resumed.
    """
    of_spec = distill_options.asked({"epochs": epochs, "imgsz": imgsz, "batch": batch, "name": name})
    if spec is not None:
        distill_options.refuse_with_spec(spec, "train", of_spec)
        paths = {"model": Path(model) if model else None, "dataset": data, "cache": cache}
        _run("train", spec, run_dir, paths, reading, device, events)
    options = of_spec | distill_options.asked({"model": model, "data": data and str(data), "device": device})
    distill_options.require(options, "model", "data")
    folder = run_dir or distill_options.folder_of(distill_options.training_name_of(options))
    _from_options(options, folder, distill_inputs.local_training, distill_here.chosen_training, cache, reading, events)


@takes_reading
def evaluate(
    target: Annotated[
        Path,
        typer.Argument(help="Weights (.pt, .safetensors) with --data, or a job spec.", show_default=False),
    ],
    data: Annotated[
        Path | None, typer.Option(help="Dataset: folder, data YAML, zip or tar.", show_default=False)
    ] = None,
    imgsz: Annotated[
        int | None,
        typer.Option(
            parser=number,
            min=32,
            help="Side of the network input, px; default: that of its training.",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[int, typer.Option(parser=number, min=1, help="Images per step.")] = 16,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "val",
    run_dir: RunDirByName = None,
    model: Model = None,
    dataset: DatasetPath = None,
    cache: Cache = None,
    *,
    reading: "Reading",
    device: Device = None,
    events: Events = False,
) -> None:
    """Evaluate weights by the COCO protocol and by Ultralytics' own metric."""
    if target.suffix.lower() in (".pt", ".safetensors"):
        if data is None:
            raise typer.BadParameter("weights need --data: a dataset to evaluate on")
        _evaluate_weights(target, data, imgsz, batch, split, cache, reading, device, events)
    if sort_of(target) == distill_inputs.DATASET:
        raise typer.BadParameter(f"expected weights or a spec, got {str(target)!r}, a dataset: is it meant for --data?")
    _run("evaluate", target, run_dir, {"model": model, "dataset": dataset, "cache": cache}, reading, device, events)


@takes_reading
def export(
    spec: Spec,
    run_dir: RunDirByName = None,
    model: Model = None,
    dataset: DatasetPath = None,
    cache: Cache = None,
    *,
    reading: "Reading",
    device: Device = None,
    events: Events = False,
) -> None:
    """Export weights to ONNX, OpenVINO, TorchScript or TensorRT, and check the exported network against torch."""
    _run("export", spec, run_dir, {"model": model, "dataset": dataset, "cache": cache}, reading, device, events)


@takes_reading
def compare(
    spec: Spec,
    run_dir: RunDir,
    dataset: DatasetPath = None,
    cache: Cache = None,
    *,
    reading: "Reading",
    device: Device = None,
    events: Events = False,
) -> None:
    """Draw the report of a service's study from the results in the run folder."""
    paths = {"dataset": dataset, "cache": cache}
    _run("compare", spec, run_dir, paths, reading, device, events)


def _from_options(
    options: dict[str, Any],
    run_dir: Path,
    resolved: Callable[[dict[str, Any]], Any],
    chosen: Callable[..., "RunSpec"],
    cache: Path | None,
    reading: "Reading",
    events: bool,
) -> None:
    """Run what options alone ask for, and exit with the run's status.

    Args:
        options: the given options.
        run_dir: the run folder.
        resolved: returns the references to the networks, or refuses options.
        chosen: returns the spec, given options, references, folders and a function that prints a line.
        cache: folder to unpack archives into.
        reading: how to read an archive.
        events: write JSON lines for programs.
    """
    reporter = _reporter(events, run_dir, distill_options.advice_in_options)
    console = reporter.console if isinstance(reporter, People) else Console(stderr=True)

    def tell(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    @_leaving_nothing(run_dir, reporter)
    def work(reporter: Reporter) -> dict[str, Any]:
        try:
            networks = resolved(options)  # refuses before a dataset is opened
            _claim(run_dir)
            reporter.emit(Progress(phase="preparing"))  # that, and opening a dataset, take a while
            from rdrkd.run.run import Inputs, run

            spec = chosen(options, networks, run_dir, cache, reading, tell)
            inputs = Inputs(device=options.get("device"), cache=cache, reading=reading)
            return run(spec, run_dir, reporter, inputs)
        except RdrkdError as error:
            raise distill_options.error_in_options(error)  # noqa: B904 - the same error, in other words

    raise typer.Exit(conclude(work, reporter))


def _run(
    kind: str,
    spec: Path,
    run_dir: Path | None,
    paths: dict[str, Path | None],
    reading: "Reading",
    device: str | None,
    events: bool,
) -> None:
    """Run a spec of the command's kind, and exit with the run's status."""
    folder = run_dir or distill_options.folder_of(spec.stem)
    reporter = _reporter(events, folder)

    @_leaving_nothing(folder, reporter)
    def work(reporter: Reporter) -> dict[str, Any]:
        from rdrkd.spec.files import parse_file, read_spec

        expect_spec(spec, kind)
        content = parse_file(spec)
        found = content.get("kind") if isinstance(content, dict) else None
        if found != kind and found in _KINDS:
            raise SpecError(f"expected a spec of the kind {kind!r}, got {found!r}: use `rdrkd {found} {spec}`")
        given = {field: path for field, path in paths.items() if path is not None}
        for field, path in given.items():
            if field != "cache":
                distill_inputs.there(f"--{field}", path, _EXPECTED.get(field, "a weights file"))
        job = read_spec(spec, given)
        _claim(folder)
        reporter.emit(Progress(phase="preparing"))
        from rdrkd.run.run import Inputs, run

        return run(
            job,
            folder,
            reporter,
            Inputs(device=device, reading=reading, **paths),
        )

    raise typer.Exit(conclude(work, reporter))


def _claim(run_dir: Path) -> None:
    if run_dir.exists() and not run_dir.is_dir():
        raise FolderError(f"--run-dir: expected a folder, got the file {run_dir}")
    claim(run_dir)


@contextmanager
def _leaving_nothing(run_dir: Path, reporter: Reporter) -> Iterator[None]:
    """Remove the folders that this command has made if its run is refused before a first epoch; a worker keeps them."""
    made = [folder for folder in (run_dir, *run_dir.parents) if not folder.exists()]
    try:
        yield
    except (SpecError, MachineError, DatasetError, ModelError, PairError):
        if made and run_dir.is_dir() and isinstance(reporter, People) and not (run_dir / METRICS).exists():
            with suppress(FolderError), held(run_dir):  # unless another run has begun in it meanwhile
                shutil.rmtree(run_dir, ignore_errors=True)
            with suppress(OSError):
                for folder in made[1:]:
                    folder.rmdir()
        raise


def _evaluate_weights(
    weights: Path,
    data: Path,
    imgsz: int | None,
    batch: int,
    split: str,
    cache: Path | None,
    reading: "Reading",
    device: str | None,
    events: bool,
) -> None:
    """Evaluate a weights file on a dataset, and exit with the run's status."""
    reporter = _reporter(events)

    def work(reporter: Reporter) -> dict[str, Any]:
        import tempfile

        from rdrkd.spec.files import evaluation_settings

        try:
            settings, *_ = distill_inputs.gathered(
                lambda: evaluation_settings(batch=batch, split=split, **({} if imgsz is None else {"imgsz": imgsz})),
                lambda: distill_inputs.there("weights", weights, "a weights file"),
                lambda: distill_inputs.there("--data", data, "a dataset"),
                lambda: distill_inputs.present(device),
            )
        except SpecError as error:
            raise distill_options.error_in_options(error)  # noqa: B904 - the same error, in other words
        reporter.emit(Progress(phase="preparing"))
        from rdrkd.data import open_dataset
        from rdrkd.data.check import check
        from rdrkd.evaluation.evaluate import evaluate as measure

        with tempfile.TemporaryDirectory(prefix="rdrkd-") as folder:
            dataset = open_dataset(data, cache or Path(folder), reading=reading)
            used: dict[str, Any] = {name: files for name, files in dataset.splits.items() if name == settings.split}
            check(replace(dataset, splits=used)).refuse_problems()  # Ultralytics would pass over its faults
            size, why = _input_size(weights, imgsz, settings.imgsz)
            if isinstance(reporter, People):
                reporter.console.print(
                    f"evaluating {weights.name} on {settings.split} at {size} px: {why}", highlight=False, markup=False
                )
            figures = measure(weights, dataset, size, settings.batch, settings.split, device, reporter)
        return {"kind": "evaluate", "per_class": figures.pop("per_class"), "metrics": figures}

    raise typer.Exit(conclude(work, reporter))


def _input_size(weights: Path, given: int | None, usual: int) -> tuple[int, str]:
    """Return the side of the input at which weights are evaluated, px, and why."""
    from rdrkd.models import load_weights

    if given is not None:
        return given, "as --imgsz says"
    trained = load_weights(weights).imgsz
    if trained is None:
        return usual, "the file does not record its training size (--imgsz sets it)"
    return input_side(trained), "as it was trained"


def _reporter(events: bool, run_dir: Path | None = None, say: Callable[[str], str] = str) -> Stoppable:
    return JsonLines(events_stream()) if events else People(run_dir=run_dir, say=say)
