"""The reporter for terminals: the phase with a progress bar, a row per epoch, warnings, and the final table."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from rdrkd import events
from rdrkd.cli.comparison import show_details, show_verdict
from rdrkd.cli.epoch_words import words_of
from rdrkd.cli.facts import facts_of
from rdrkd.epochs import Place, place_of
from rdrkd.events import Event
from rdrkd.figures import FIGURES, OWN, PROTOCOLS, duration, percent
from rdrkd.process.environment import warns
from rdrkd.reasons import Reason
from rdrkd.run_folder.names import CARD, PAGE, RESULT, SPEC
from rdrkd.training.part import PHASES

# The files of a run folder that its owner wants first.
_FILES = {
    "student.pt": "the weights, for plain Ultralytics", "alone.pt": "the student trained alone",
    PAGE: "curves, what each term contributed, and warnings", CARD: "figures, settings and how to use the weights",
    RESULT: "all figures, for programs",
}  # fmt: skip


_NARROW = 6  # columns of the table of epochs, at least


class People:
    """A reporter that draws on a terminal; to a pipe it prints the same without the bar.

    Args:
        console: where to draw.
        run_dir: the run folder, whose files are named at the end; None: there is none.
        say: rewords advice, which names fields of the spec.
    """

    def __init__(
        self, console: Console | None = None, run_dir: Path | None = None, say: Callable[[str], str] = str
    ) -> None:
        self.console, self.run_dir, self.say = console or Console(), run_dir, say
        self.stop = False
        self._held = run_dir is not None and (run_dir / SPEC).is_file()  # an earlier command's run
        self._resolved = False
        self._progress: Progress | None = None
        self._columns: tuple[str, ...] = ()
        self._phase = ""
        self._baseline, self._own, self._calibrated = False, 0, False
        self._left: float | None = None  # seconds, as of the last progress
        _quieten_ultralytics()

    def should_stop(self) -> bool:
        """Return whether a signal has requested a stop."""
        return self.stop

    def emit(self, event: Event) -> None:
        """Draw one event."""
        match event:
            case events.Progress():
                self._on_progress(event)
            case events.Epoch():
                self._on_epoch(event)
            case events.Warn():
                place = f", {self._where(event.epoch)}:" if event.epoch else ""
                self.console.print(f"[yellow]warning[/]{place} {escape(self.say(event.message))}")
            case events.Done():
                self._close()
                if self.run_dir is not None and not self._resolved:
                    self.console.print("this run has finished; its result:")
                show_result(event.result, self.console, self.say)
                if self.run_dir is not None:
                    show_files(event.result, self.run_dir, self.console)
            case events.Failed():
                self._close()
                show_failure(event, self.console)
            case events.Stopped():
                self._close()
                self.console.print("[yellow]Stopped.[/] Run the same command again to go on.")
            case events.Calibrated():
                # Once, for the report has all; a resumed run repeats its newest before its training.
                if not self._calibrated and self._phase == "training":
                    self._calibrated = True
                    chosen = ", ".join(f"{name} {weight:.3g}" for name, weight in event.weights.items())
                    self.console.print(f"[dim]loss weights by calibration: {chosen}[/]", highlight=False)
            case events.Resolved():  # nothing refuses the run any more
                self._tell_folder()
                self._baseline = bool(event.resolved_spec.get("baseline"))
                self._own = (event.resolved_spec.get("train") or {}).get("epochs", 0)
            case events.Checkpoint():
                pass

    def _tell_folder(self) -> None:
        self._resolved = True
        if self.run_dir is not None:
            words = f"resuming {self.run_dir} with its settings" if self._held else f"run folder: {self.run_dir}"
            self.console.print(words, highlight=False, markup=False)

    def _on_progress(self, event: events.Progress) -> None:
        self._begin(event.phase)
        if self._progress is None:
            self._progress = Progress(
                TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(),
                TextColumn("{task.fields[unit]}"), TimeElapsedColumn(), TextColumn("{task.fields[eta]}"),
                console=self.console, transient=True, disable=not self.console.is_terminal,
            )  # fmt: skip
            self._progress.add_task("", total=None, unit="", eta="")
        self._left = event.eta_seconds
        eta = f"about {duration(event.eta_seconds)} left" if event.eta_seconds is not None else ""
        task = self._progress.task_ids[0]
        self._progress.update(
            task,
            description=self._where(event.epoch, event.epochs) if event.epoch else self._words(event.phase),
            completed=event.completed,
            total=event.total,
            unit="" if event.total is None else "batches" if event.unit == "batch" else f"{event.unit}s",
            eta=eta,
        )
        self._progress.start()  # with this first state; later on it does nothing

    def _begin(self, phase: events.Phase) -> None:
        """Print a phase once; on a terminal, where the bar shows it, only whose epochs the rows below are."""
        if phase == self._phase:
            return
        self._phase, self._columns = phase, ()
        if not self.console.is_terminal or (self._baseline and phase.startswith("training")):
            self.console.print(f"{self._words(phase)} ...")

    def _words(self, phase: events.Phase) -> str:
        if phase == "training" and self._baseline:
            return "training the student"
        return "training the student alone" if phase == "training_alone" else phase

    def _on_epoch(self, event: events.Epoch) -> None:
        self._begin(PHASES[event.part])
        place = self._place(event.epoch, event.epochs)
        cells = {"epoch": f"{place.part_epoch}/{place.part_epochs}"}
        cells |= {name: f"{value:.4g}" for name, value in event.losses.items()}
        cells |= {name: f"{value:.1f}" for name, value in event.metrics.items() if name.startswith("mAP")}
        cells["time"] = duration(event.seconds)
        if sum(max(len(name), _NARROW) + 1 for name in cells) > self.console.width:
            cells.pop("mAP50", None)  # the report has it
        if tuple(cells) != self._columns:
            self._columns = tuple(cells)
            if self._left and not self.console.is_terminal:  # which has a bar
                self.console.print(f"[dim]about {duration(self._left)} left in all[/]", highlight=False)
            self.console.print("[dim]losses: unweighted means; mAP: Ultralytics' own, in percent[/]")
            self._row({name: name for name in cells}, style="bold")
        self._row(cells)

    def _place(self, epoch: int, epochs: int | None = None) -> Place:
        own = epochs // (2 if self._baseline else 1) if epochs else self._own
        return place_of(epoch, own, self._baseline)

    def _where(self, epoch: int, epochs: int | None = None) -> str:
        return words_of(self._place(epoch, epochs), self._baseline)

    def _row(self, cells: Mapping[str, str], style: str | None = None) -> None:
        line = " ".join(value.rjust(max(len(name), _NARROW)) for name, value in cells.items())
        self.console.print(line, style=style, highlight=False, soft_wrap=True)

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _quieten_ultralytics() -> None:
    """Reduce Ultralytics' output to warnings, without progress bars, to leave the terminal to this reporter."""
    if "YOLO_VERBOSE" not in os.environ:
        os.environ["YOLO_VERBOSE"] = "False"
        logging.getLogger("ultralytics").addFilter(warns)


def figures_table(rows: Mapping[str, Mapping[str, Any]], title: str) -> Table:
    """Build a table of result metrics (`coco`, `coco_maxdets500`, `ultralytics`), with a group of rows for each name.

    Args:
        rows: name -> the `metrics` block of a result.
        title: heading; the unit is added here.
    """
    table = Table(title=f"{title} (percent)")
    table.add_column("model")
    table.add_column("protocol")
    for name in FIGURES:
        table.add_column(name, justify="right")
    for model, metrics in rows.items():
        for key, protocol in PROTOCOLS.items():
            table.add_row(
                model, protocol.replace(" protocol", ""), *(percent(metrics[key][figure]) for figure in FIGURES)
            )
    return table


def own_table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """Build a table of Ultralytics' own figures, with a row for each name."""
    table = Table(title="Ultralytics' own metric (percent)")
    table.add_column("model")
    for name in OWN:
        table.add_column(name, justify="right")
    for model, metrics in rows.items():
        table.add_row(model, *(percent(metrics["ultralytics"][figure]) for figure in OWN))
    return table


def export_table(made: Mapping[str, Any]) -> Table:
    """Build a table of an export's latency and size beside torch's, with the differences of their predictions."""
    latency, agreed = made["latency"], made["agreement"]
    place = f"{latency['processor'] if latency['device'] == 'CPU' else latency['device']}, {latency['threads']} threads"
    table = Table(title=f"One image of {latency['imgsz']} px, {latency['repeats']} passes each on {place}")
    for heading in ("network", "computes in", "ms, median", "IQR", "MB"):
        table.add_column(heading, justify="left" if heading in ("network", "computes in") else "right")
    for name, size in (("torch", made["weights_size"]), ("exported", made["file"]["size"])):
        row = latency[name]
        cells = (f"{row['median_ms']:.2f}", f"{row['iqr_ms']:.2f}", f"{size / 1e6:.1f}")
        table.add_row(f"{name} ({row['runtime']})", row["computes_in"], *cells)
    found = agreed["detections"]
    table.caption = (
        f"{agreed['images']} images: boxes differ by {agreed['boxes_px']['max_abs']:.3g} px at most, scores by "
        f"{agreed['scores']['max_abs']:.3g}; {found['matched']} of torch's {found['torch']} detections are matched"
    )
    return table


def show_result(result: Mapping[str, Any], console: Console, say: Callable[[str], str] = str) -> None:
    """Print a run's result: the figures by both protocols and by class, the comparison, and the verdict.

    Args:
        result: the result.
        console: where to print.
        say: rewords advice.
    """
    name = {"distill": "student", "export": "exported"}.get(result.get("kind", ""), "model")
    rows = {name: result["metrics"]}
    if made := result.get("export"):
        rows = {"torch": made["torch"]["metrics"], **rows}
    console.print(figures_table(rows, "Result on the validation images" if "best_epoch" in result else "Result"))
    console.print(own_table(rows))
    if classes := result.get("per_class"):
        table = Table(title="By class, COCO protocol, maxDets 100 (percent)")
        for heading in ("class", "AP", "AP50"):
            table.add_column(heading, justify="left" if heading == "class" else "right")
        for label, figures in classes.items():
            table.add_row(escape(label), percent(figures["AP"]), percent(figures["AP50"]))
        console.print(table)
    if made := result.get("export"):
        console.print(export_table(made))
    if comparison := result.get("comparison"):
        show_details(comparison, console)
    show_verdict(result, console, say)


def show_files(result: Mapping[str, Any], run_dir: Path, console: Console) -> None:
    """Print where a run's most useful files are."""
    made = [result["export"]["file"]["name"]] if "export" in result else []
    found = {name: what for name, what in {**dict.fromkeys(made, "the exported network"), **_FILES}.items()
             if (run_dir / name).is_file()}  # fmt: skip
    console.print(f"Run folder: [bold]{escape(str(run_dir))}[/]", highlight=False, soft_wrap=True)
    for name, what in found.items():
        console.print(f"  [bold]{escape(name):{max(map(len, found))}}[/]  {what}", highlight=False)


def show_failure(event: events.Failed, console: Console) -> None:
    """Print why a run failed."""
    reason = "error" if event.reason is Reason.INTERNAL else event.reason.value  # "internal" means nothing to users
    console.print(f"[bold red]{reason}:[/] {escape(_without_repetition(event))}".rstrip())
    for problem in event.problems:
        console.print(f"  [bold]{escape(problem['where'] or '/')}[/] {escape(problem['detail'])}")


def _without_repetition(event: events.Failed) -> str:
    """Return the message without the first problem at its end, which is meant for logs and which the list repeats."""
    if not event.problems:
        return event.message
    where, detail = event.problems[0]["where"], event.problems[0]["detail"]
    rest = event.message.removesuffix(detail)
    if rest == event.message:
        return event.message
    return rest.rstrip(": ").removesuffix(where).rstrip(": ").removesuffix(", the first at")


def show_inspection(report: Mapping[str, Any], console: Console) -> None:
    """Print the findings of the inspection of a dataset or a model; `--json` prints everything."""
    verdict = "[green]usable[/]" if report["ok"] else "[bold red]not usable[/]"
    console.print(f"{report['kind']}: {verdict}")
    for problem in report["problems"]:
        console.print(f"  [bold]{escape(problem['where'])}[/] {escape(problem['detail'])}")
    size = {name: report[name] for name in ("format", "size") if report.get(name)}
    for heading, text in facts_of(size | {"report": report}):
        console.print(f"  [bold]{heading}[/] {escape(text)}", highlight=False, soft_wrap=True)
