"""Studies on this machine: run, merge and report them."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from rdrkd import events
from rdrkd.cli.distill_inputs import present
from rdrkd.cli.expected_spec import expect_spec
from rdrkd.cli.groups import new_app
from rdrkd.cli.output_files import target_of
from rdrkd.errors import FolderError
from rdrkd.events import EXIT_DONE, EXIT_FAILED, EXIT_STOPPED, Event
from rdrkd.figures import counted, duration
from rdrkd.process import environment
from rdrkd.spec.study import GROUPS

app = new_app("Compare methods over seeds: mean, spread, paired differences with confidence intervals.")
Out = Annotated[Path, typer.Option(help="Folder of run folders, results and report.", show_default=False)]
Device = Annotated[str | None, typer.Option(help="`cpu` or a GPU's number; default: the GPU where there is one.")]
Jobs = Annotated[int, typer.Option(min=1, help="Number of members to train at the same time.")]
Minutes = Annotated[
    float | None,
    typer.Option(min=0, help="Time budget; the next run resumes unfinished members."),
]
Known = Annotated[
    list[Path] | None,
    typer.Option(help="Earlier results (study.json) to reuse.", show_default=False),
]
Rungs = Annotated[
    str | None,
    typer.Option(
        help="Successive halving: number of seeds in each rung, such as 1,2,5; the better half continues.",
        show_default=False,
    ),
]

_WIDEST = 1000  # columns: largest width of a table


class Line:
    """A reporter that prints a line per phase and epoch, with the member's name; one flag stops all of them."""

    stop = False  # a class attribute, because a signal stops all members

    def __init__(self, name: str, console: Console) -> None:
        self.name, self.console = name, console
        self._phase = ""

    def emit(self, event: Event) -> None:
        """Print the essentials of an event."""
        match event:
            case events.Progress() if event.phase != self._phase:
                self._phase = event.phase
                self._print(f"{event.phase} ...")
            case events.Epoch():
                figure = event.metrics.get("mAP50_95", 0.0)
                self._print(f"epoch {event.epoch}/{event.epochs}, mAP50-95 {figure:.1f}, {duration(event.seconds)}")
            case events.Done():
                self._print(f"AP {event.result['metrics']['coco']['AP']:.2f}")
            case events.Failed():
                self._print(f"failed: {event.reason.value}: {event.message}")
            case _:
                pass

    def should_stop(self) -> bool:
        """Return whether a signal has requested a stop."""
        return Line.stop

    def _print(self, text: str) -> None:
        self.console.print(f"{self.name}: {text}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def run(
    spec: Annotated[Path, typer.Argument(help="Study spec, YAML or JSON.", show_default=False)],
    out: Out,
    device: Device = None,
    jobs: Jobs = 1,
    minutes: Minutes = None,
    known: Known = None,
    rungs: Rungs = None,
) -> None:
    """Train a study's missing members and write its report; run it again to resume."""
    environment.apply()
    expect_spec(spec, "study run")
    present(device)
    _run(spec, out, device, jobs, minutes, known, rungs)


def _table(group: str) -> Callable[..., None]:
    def table(
        dataset: Annotated[
            str, typer.Argument(help="Dataset: a path, or `VisDrone`, which is downloaded.", show_default=False)
        ],
        out: Out,
        teacher: Annotated[str, typer.Option(help="Architecture to train first, or trained weights.")] = "yolov8l",
        student: Annotated[str, typer.Option(help="Architecture, or start weights.")] = "yolov8n",
        seeds: Annotated[int, typer.Option(min=1, max=100, help="Number of seeds for each method.")] = 3,
        epochs: Annotated[int, typer.Option(min=1, help="Epochs of teacher and students.")] = 100,
        imgsz: Annotated[int, typer.Option(min=32, help="Side of the network input, px.")] = 640,
        batch: Annotated[int, typer.Option(min=1, help="Images per step.")] = 16,
        device: Device = None,
        jobs: Jobs = 1,
        minutes: Minutes = None,
        known: Known = None,
    ) -> None:
        environment.apply()
        present(device)  # before anything is downloaded or written
        from rdrkd.study.tables import write_table_study

        train = {"epochs": epochs, "imgsz": imgsz, "batch": batch}
        spec = write_table_study(group, dataset, out, teacher, student, seeds, train)
        _run(spec, out, device, jobs, minutes, known)

    table.__doc__ = (
        f"Train the methods of the paper's {group.replace('table', 'Table ')} on a dataset; its spec is written to "
        "`study.yaml` in the folder. The same command resumes it; for changes, edit the spec and use `rdrkd study run`."
    )
    return table


for _group in GROUPS:
    app.command(_group)(_table(_group))


def _run(
    spec: Path,
    out: Path,
    device: str | None,
    jobs: int,
    minutes: float | None,
    known: list[Path] | None,
    rungs: str | None = None,
) -> None:
    console = Console()
    console.print(f"reading {spec}, its dataset and its models ...", highlight=False, markup=False)
    from rdrkd.study.halving import rungs_of
    from rdrkd.study.panel import draw_panel
    from rdrkd.study.report import write_report
    from rdrkd.study.runner import Order, run_study
    from rdrkd.study.specfile import read_study

    study = read_study(spec)
    order = Order(out, device, jobs, None if minutes is None else minutes * 60, known or ())
    order.rungs = rungs_of(rungs, len(study.seeds)) if rungs else ()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    ended = run_study(study, order, lambda name: Line(name, console))
    console.print("drawing the report ...")
    panel = None
    try:
        panel = draw_panel(ended.members, out, out, Path(study.dataset))
    except Exception as error:  # noqa: BLE001 - such as damaged weights: hours of training must have their report
        console.print(f"No panel of images: {type(error).__name__}: {error}", markup=False)
    write_report(ended.results, out, panel)
    _show(ended.results, console)
    console.print(f"Report: [bold]{out / 'report.html'}[/], results: [bold]{out / 'study.json'}[/]")
    for failure in ended.results["failures"]:
        name = f"{failure['method']}, seed {failure['seed']}"
        console.print(f"{name} failed: {failure['reason']}: {failure['message']}", highlight=False, markup=False)
    if ended.failed:
        console.print("The same command tries what has failed again.")
        raise typer.Exit(EXIT_FAILED)
    if ended.missing:
        console.print(f"Not done: {counted(len(ended.missing), 'member')}. Run the same command again to continue.")
        raise typer.Exit(EXIT_STOPPED)
    raise typer.Exit(EXIT_DONE)


@app.command()
def merge(
    parts: Annotated[list[Path], typer.Argument(help="Results of runs of the same study.", show_default=False)],
    output: Annotated[Path, typer.Option(help="Output file.", show_default=False)],
) -> None:
    """Join results of several runs or machines into one file."""
    from rdrkd.study import results

    target = target_of(output, "study.json")
    joined = results.merge([results.read(part) for part in parts])
    results.write(joined, target)
    _show(joined, Console())


def write(file: Path, out: Path) -> None:
    """Write the report of existing results, and print its files.

    Raises:
        FolderError: `out` is a file.
    """
    from rdrkd.study import results
    from rdrkd.study.report import write_report

    found = results.read(file)
    if out.exists() and not out.is_dir():
        raise FolderError(f"expected a folder for the report, got a file at {out}")
    panel = "panel.png" if (out / "panel.png").is_file() else None
    for path in write_report(found, out, panel):
        typer.echo(path)


@app.command()
def schema() -> None:
    """Print the JSON Schema of study specs."""
    import json

    from rdrkd.spec.study import Study

    typer.echo(json.dumps(Study.model_json_schema(), indent=2))


def _stop(number: int, _frame: Any) -> None:
    """Ask all members to stop at their next batch; a second signal ends this process."""
    Line.stop = True
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _show(results: dict[str, Any], console: Console) -> None:
    from rdrkd.study.gains import gains
    from rdrkd.study.report import findings, first, lead, tables
    from rdrkd.study.statistics import rows_of

    rows = rows_of(results["members"])
    for sentence in first(results, gains(rows)):
        console.print(sentence, highlight=False, markup=False)
    leading = lead(rows)
    for table in [*([leading] if leading else []), *tables(rows)[:2]]:
        shown = _shown(table)
        least = Measurement.get(console, console.options.update(width=_WIDEST), shown).minimum
        shown.width = least if least > console.width else None
        console.print(shown, crop=False)
    for sentence in findings(rows):
        console.print(sentence, highlight=False, markup=False)


def _shown(table: dict[str, Any]) -> Table:
    """Lay out a table: intervals wrap, names and numbers do not, and tables wider than the terminal are not cut."""
    shown = Table(title=table["title"], box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for place, heading in enumerate(table["header"]):
        words = " ".join([heading, *(row[place] for row in table["rows"])]).split()
        shown.add_column(
            heading, justify="right" if place else "left", no_wrap=not place, min_width=max(map(len, words))
        )
    for row in table["rows"]:
        shown.add_row(*map(escape, row))
    return shown
