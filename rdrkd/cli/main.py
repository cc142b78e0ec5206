"""The command line `rdrkd`. It is also the trainer that a worker starts, with `--events`.

torch and Ultralytics are imported only by the commands that need them, and only after the environment stands.
"""

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from rdrkd import __version__
from rdrkd.cli import own_data
from rdrkd.cli.browser import console
from rdrkd.cli.console import People, show_failure, show_inspection
from rdrkd.cli.datasets import datasets
from rdrkd.cli.doctor import doctor
from rdrkd.cli.jobs import jobs
from rdrkd.cli.keys import keys
from rdrkd.cli.models import models
from rdrkd.cli.own_data import Baseline, Batch, Epochs, Imgsz, PresetName, RunName
from rdrkd.cli.reading import takes_reading
from rdrkd.cli.studies import studies
from rdrkd.cli.study import app as study
from rdrkd.cli.workers import workers
from rdrkd.errors import FolderError, RdrkdError, SpecError
from rdrkd.events import EXIT_DONE, EXIT_FAILED
from rdrkd.process import environment
from rdrkd.process.die_with_parent import die_with_parent
from rdrkd.process.process import Stoppable, conclude, events_stream, failure_of
from rdrkd.reporter import JsonLines, Reporter

if TYPE_CHECKING:
    from rdrkd.data.reading import Reading

app = typer.Typer(
    name="rdrkd",
    help="Distil a large drone detector into a small one with RDR-KD: on this machine, or as a REST service.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(study, name="study")
for name, commands in (
    ("jobs", jobs), ("datasets", datasets), ("models", models), ("studies", studies), ("workers", workers),
    ("keys", keys),
):  # fmt: skip
    app.add_typer(commands, name=name)
app.command("doctor")(doctor)
app.command("console")(console)
Spec = Annotated[Path, typer.Argument(help="Job spec, JSON or YAML.", show_default=False)]
RunDir = Annotated[
    Path,
    typer.Option(
        help="Run folder. Run the same command again to resume; a finished run prints its result.", show_default=False
    ),
]
Model = Annotated[
    Path | None, typer.Option(help="Model weights, if the spec refers to them by id.", show_default=False)
]
DatasetPath = Annotated[
    Path | None,
    typer.Option(help="Dataset (folder, data YAML, zip or tar), if the spec refers to it by id.", show_default=False),
]
Cache = Annotated[
    Path | None,
    typer.Option(help="Folder to unpack archives into, once; default: the run folder.", show_default=False),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="`cpu`, or a GPU's number; default: the first GPU, else the CPU. A list (`0,1`; `cpu,cpu`) trains on all "
        "of them, with a process each that takes its share of every batch; the first one evaluates.",
        show_default=False,
    ),
]
Events = Annotated[bool, typer.Option("--events", help="Write JSON event lines to stdout, everything else to stderr.")]


@app.command()
@takes_reading
def distill(
    spec: Annotated[
        Path | None, typer.Argument(help="Job spec, JSON or YAML; or use the options below.", show_default=False)
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            help="Run folder; required with a spec, otherwise runs/NAME. Run the same command again to resume; a "
            "finished run prints its result.",
            show_default=False,
        ),
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Teacher weights; with a spec that refers to them by id.", show_default=False)
    ] = None,
    student: Annotated[
        str | None,
        typer.Option(help="Architecture such as yolov8n, or a file of initial weights.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", "--dataset", help="Dataset: folder, data YAML, zip or tar.", show_default=False),
    ] = None,
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
    """Distil a student from a teacher: `--teacher l.pt --student yolov8n --data scenes.zip`, or a spec."""
    of_spec = own_data.asked(
        {"epochs": epochs, "imgsz": imgsz, "batch": batch, "preset": preset, "name": name, "baseline": baseline}
    )
    if spec is not None:
        own_data.refuse_with_spec(of_spec)
        if run_dir is None:
            raise typer.BadParameter("a spec needs --run-dir")
        paths = {"teacher": teacher, "student": Path(student) if student else None, "dataset": data, "cache": cache}
        _run("distill", spec, run_dir, paths, reading, device, events)
    options = of_spec | own_data.asked(
        {"teacher": teacher and str(teacher), "student": student, "data": data and str(data), "device": device}
    )
    own_data.require(options)
    folder = run_dir or own_data.folder_of(name, options["student"], options["teacher"])
    _distill_own(options, folder, cache, reading, events)


@app.command()
@takes_reading
def train(
    spec: Spec,
    run_dir: RunDir,
    model: Model = None,
    dataset: DatasetPath = None,
    cache: Cache = None,
    *,
    reading: "Reading",
    device: Device = None,
    events: Events = False,
) -> None:
    """Train one model alone: a teacher, or the student without a teacher."""
    _run("train", spec, run_dir, {"model": model, "dataset": dataset, "cache": cache}, reading, device, events)


@app.command()
@takes_reading
def evaluate(
    target: Annotated[
        Path,
        typer.Argument(
            help="Weights (.pt, .safetensors) with --data, or a job spec with --run-dir.", show_default=False
        ),
    ],
    data: Annotated[
        Path | None, typer.Option(help="Dataset: folder, data YAML, zip or tar.", show_default=False)
    ] = None,
    imgsz: Annotated[int, typer.Option(min=32, help="Side of the network input, px.")] = 640,
    batch: Annotated[int, typer.Option(min=1, help="Images per step.")] = 16,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "val",
    run_dir: Annotated[Path | None, typer.Option(help="Run folder (with a spec).", show_default=False)] = None,
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
    if run_dir is None:
        raise typer.BadParameter("a spec needs --run-dir")
    _run("evaluate", target, run_dir, {"model": model, "dataset": dataset, "cache": cache}, reading, device, events)


@app.command()
@takes_reading
def export(
    spec: Spec,
    run_dir: RunDir,
    model: Model = None,
    dataset: DatasetPath = None,
    cache: Cache = None,
    *,
    reading: "Reading",
    device: Device = None,
    events: Events = False,
) -> None:
    """Export weights to ONNX, OpenVINO, TorchScript or TensorRT, and check what came out against torch."""
    _run("export", spec, run_dir, {"model": model, "dataset": dataset, "cache": cache}, reading, device, events)


@app.command(hidden=True)
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


@app.command()
@takes_reading
def inspect(
    file: Annotated[
        Path,
        typer.Argument(
            help="A dataset (folder, data YAML, zip, tar) or weights (.pt, .safetensors).", show_default=False
        ),
    ],
    cache: Annotated[Path | None, typer.Option(help="Folder to unpack an archive into.", show_default=False)] = None,
    *,
    reading: "Reading",
    preview: Annotated[
        Path | None, typer.Option(help="JPEG to write: images of a valid dataset with their boxes.", show_default=False)
    ] = None,
    convert: Annotated[
        Path | None,
        typer.Option(help="Folder to write the weights to in the other format.", show_default=False),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the file in the report.", hidden=True)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check a dataset or a weights file without running any code in it; exit status 3 if it is unusable."""
    die_with_parent()
    environment.apply()
    stream = events_stream() if as_json else None
    from rdrkd.run.inspection import inspect as look
    from rdrkd.run.inspection import limit_resources

    if limits := os.environ.get(environment.LIMITS):  # under a worker: a stranger's file
        limit_resources(**json.loads(limits))
    report = look(file, cache, reading, preview, convert, name)
    if stream:
        stream.write(json.dumps(report) + "\n")
        stream.flush()
    else:
        show_inspection(report, Console())
    raise typer.Exit(EXIT_DONE if report["ok"] else EXIT_FAILED)


@app.command()
def scenes(
    out: Annotated[Path, typer.Argument(help="New or empty folder.", show_default=False)],
    profile: Annotated[str, typer.Option(help="visdrone: like the real annotations; demo: easy scenes.")] = "visdrone",
    images: Annotated[int, typer.Option(min=1, help="Training images.")] = 600,
    val_images: Annotated[int, typer.Option(min=1, help="Validation images.")] = 100,
    imgsz: Annotated[
        str | None, typer.Option(help="Width in px, or WIDTHxHEIGHT; default: 960 for visdrone, 160 for demo.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the scenes.")] = 0,
) -> None:
    """Draw synthetic drone scenes with exact boxes, as YOLO, COCO and VisDrone."""
    from rdrkd.data.scenes import write_scenes

    size = _size(imgsz or ("160" if profile == "demo" else "960"))
    data = write_scenes(out, profile, {"train": images, "val": val_images}, size, seed)  # type: ignore[arg-type]
    typer.echo(data)


@app.command()
def report(
    run_dir: Annotated[Path, typer.Argument(help="Run folder, finished or not.", show_default=False)],
) -> None:
    """Write a run folder's report.html and report.png: which term did what, on one page."""
    environment.apply()
    from rdrkd.diagnostics.report import write_report
    from rdrkd.run_folder.names import RESOLVED
    from rdrkd.study.results import FILE

    if (run_dir / FILE).is_file() and not (run_dir / RESOLVED).is_file():
        command = shlex.join(["rdrkd", "study", "report", str(run_dir / FILE), "--out", str(run_dir)])
        raise FolderError(f"expected a run folder, got a study's at {run_dir}: `{command}` writes its report")

    for name in write_report(run_dir):
        typer.echo(run_dir / name)


@app.command()
def up(
    data_dir: Annotated[
        Path, typer.Option(envvar="RDRKD_DATA_DIR", help="Folder for database, uploads, caches and runs.")
    ] = Path("var"),
    host: Annotated[
        str, typer.Option(envvar="RDRKD_HOST", help="Address to listen on; beyond loopback a token is required.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="RDRKD_PORT", min=0, max=65535, help="Port to listen on.")] = 8000,
    detach: Annotated[
        bool, typer.Option("--detach", help="Run in the background; return once the service is ready.")
    ] = False,
) -> None:
    """Start the embedded service: API, reaper and workers as child processes, SQLite, loopback."""
    from rdrkd.cli.up import up as start

    raise typer.Exit(start(data_dir, host, port, detach))


@app.command()
def down(
    data_dir: Annotated[Path, typer.Option(envvar="RDRKD_DATA_DIR", help="Data folder of the service to stop.")] = Path(
        "var"
    ),
) -> None:
    """Stop the embedded service that `rdrkd up --detach` started."""
    from rdrkd.cli.up import down as stop

    raise typer.Exit(stop(data_dir))


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Output folder for figures, picture and student.")] = Path("demo-output"),
) -> None:
    """Train a teacher and distil a student through the service, on easy synthetic scenes, in a few minutes."""
    from rdrkd.cli.demo import demo as walk

    raise typer.Exit(walk(output))


@app.command()
def bench(
    output: Annotated[Path, typer.Option(help="Output folder for the JSON.")] = Path("bench-output"),
    rounds: Annotated[int, typer.Option(min=3, help="Rounds; each measures every kind of step once, in turn.")] = 15,
    device: Device = None,
    methods: Annotated[
        str | None, typer.Option(help="Presets to measure instead, comma-separated, or groups: `cwd,mgd`, `table1`.")
    ] = None,
    processor_time: Annotated[
        bool,
        typer.Option(
            "--processor-time", help="Measure processor time instead of wall time, for a CPU that does other work."
        ),
    ] = False,
    everything: Annotated[
        bool,
        typer.Option("--everything", help="Measure each term, level, option and comparator, memory and an epoch, too."),
    ] = False,
) -> None:
    """Measure step times: student alone, with the teacher's forward, RDR-KD, and Ultralytics' own distillation."""
    from rdrkd.cli.bench import bench as measure
    from rdrkd.cli.bench import presets_of

    raise typer.Exit(
        measure(
            output,
            rounds,
            device,
            methods=presets_of(methods) if methods else (),
            processor_time=processor_time,
            everything=everything,
        )
    )


@app.command()
def schema() -> None:
    """Print the JSON Schema of job specs."""
    from rdrkd.spec import JOB_SPEC

    typer.echo(json.dumps(JOB_SPEC.json_schema(), indent=2))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _size(text: str) -> int | tuple[int, int]:
    """Read `960` or `960x540`."""
    try:
        sides = [int(side) for side in text.split("x")]
    except ValueError:
        sides = []
    if len(sides) == 1:
        return sides[0]
    if len(sides) == 2:
        return sides[0], sides[1]
    raise typer.BadParameter(f"expected WIDTH or WIDTHxHEIGHT in px, got {text!r}", param_hint="--imgsz")


def _distill_own(options: dict[str, Any], run_dir: Path, cache: Path | None, reading: "Reading", events: bool) -> None:
    """Distil from options alone, and leave with the exit status."""
    reporter = _reporter(events)

    def work(reporter: Reporter) -> dict[str, Any]:
        from rdrkd.run.run import Inputs, run

        tell = Console(stderr=events).print
        try:
            spec = own_data.chosen_here(
                options, run_dir, cache, reading, lambda line: tell(line, highlight=False, markup=False)
            )
            tell(f"run folder: {run_dir}", highlight=False, markup=False)
            inputs = Inputs(device=options.get("device"), cache=cache, reading=reading)
            return run(spec, run_dir, reporter, inputs)
        except RdrkdError as error:
            raise own_data.told_in_options(error)  # noqa: B904 - the same error, in other words

    raise typer.Exit(conclude(work, reporter))


def _run(
    kind: str,
    spec: Path,
    run_dir: Path,
    paths: dict[str, Path | None],
    reading: "Reading",
    device: str | None,
    events: bool,
) -> None:
    """Run a spec of the command's kind and leave with its exit status."""
    reporter = _reporter(events)

    def work(reporter: Reporter) -> dict[str, Any]:
        from rdrkd.spec.files import read_spec

        job = read_spec(spec)
        if job.kind != kind:
            raise SpecError(f"expected a spec of the kind {kind!r}, got {job.kind!r}: use `rdrkd {job.kind}`")
        from rdrkd.run.run import Inputs, run

        return run(
            job,
            run_dir,
            reporter,
            Inputs(device=device, reading=reading, **paths),
        )

    raise typer.Exit(conclude(work, reporter))


def _evaluate_weights(
    weights: Path,
    data: Path,
    imgsz: int,
    batch: int,
    split: str,
    cache: Path | None,
    reading: "Reading",
    device: str | None,
    events: bool,
) -> None:
    """Evaluate a weights file on a dataset and leave with the exit status."""
    reporter = _reporter(events)

    def work(reporter: Reporter) -> dict[str, Any]:
        import tempfile

        from rdrkd.spec.files import evaluation_settings

        settings = evaluation_settings(imgsz=imgsz, batch=batch, split=split)
        from rdrkd.data import open_dataset
        from rdrkd.evaluation.evaluate import evaluate as measure

        with tempfile.TemporaryDirectory(prefix="rdrkd-") as folder:
            dataset = open_dataset(data, cache or Path(folder), reading=reading)
            figures = measure(weights, dataset, settings.imgsz, settings.batch, settings.split, device, reporter)
        return {"kind": "evaluate", "per_class": figures.pop("per_class"), "metrics": figures}

    raise typer.Exit(conclude(work, reporter))


def _reporter(events: bool) -> Stoppable:
    return JsonLines(events_stream()) if events else People()


def main() -> None:
    """Run the command line."""
    die_with_parent()  # where a worker started it
    try:
        app()
    except RdrkdError as error:  # of a command that reports no events
        show_failure(failure_of(error), Console(stderr=True))
        raise SystemExit(EXIT_FAILED) from error
