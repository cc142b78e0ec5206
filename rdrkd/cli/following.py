"""Follow a job or study: a bar with AP and ETA on a terminal, otherwise a line per change; Ctrl-C only detaches."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from rdrkd.cli.epoch_words import DONE, place_in_view, words_of
from rdrkd.cli.terminal import Terminal, plain
from rdrkd.epochs import ALONE, CALLED
from rdrkd.figures import duration

EXIT_DETACHED = 130  # as shells report SIGINT
_QUIET = 60.0  # seconds between lines that differ in the remaining time only


@contextmanager
def stoppable(terminal: Terminal, what: str) -> Iterator[None]:
    """Report that Ctrl-C came before `what` was submitted.

    Raises:
        Exit: it came.
    """
    try:
        yield
    except KeyboardInterrupt:
        terminal.note(f"stopped before {what} was submitted")
        raise typer.Exit(EXIT_DETACHED) from None


class Follower:
    """Show each new state of a job or study.

    Args:
        terminal: the output.
        command: `jobs` or `studies`, for the message on Ctrl-C.
    """

    def __init__(self, terminal: Terminal, command: str) -> None:
        self._terminal, self._command = terminal, command
        self._last: tuple[Any, ...] = ()
        self._printed_at = 0.0
        self._progress: Progress | None = None

    def follow(self, id_: str, wait: Callable[[Callable[[Any], None]], Any]) -> Any:
        """Wait until the end, and return the final state.

        Raises:
            Exit: the user detaches; the service continues.
        """
        try:
            return wait(self.show)
        except KeyboardInterrupt:
            self.close()
            self._terminal.note(
                f"detached; {id_} continues. Follow it again with `rdrkd {self._command} watch {id_}`, "
                f"or stop it with `rdrkd {self._command} cancel {id_}`"
            )
            raise typer.Exit(EXIT_DETACHED) from None
        finally:
            self.close()

    def show(self, row: Any) -> None:
        """Show a state: as JSON, as a bar, or as a line if it differs from the last one."""
        if self._terminal.as_json:
            self._terminal.one(row)
            return
        shown = plain(row)
        if self._terminal.err.is_terminal and shown.get("epoch") and shown["status"] == "running":
            self._move(shown)
            return
        essence = _essence(shown)
        if essence != self._last or time.monotonic() - self._printed_at > _QUIET:
            self._terminal.note(line_of(shown))
            self._last, self._printed_at = essence, time.monotonic()

    def close(self) -> None:
        """Remove the bar."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _move(self, shown: dict[str, Any]) -> None:
        if self._progress is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[more]}"),
            )
            self._progress = Progress(*columns, console=self._terminal.err, transient=True)
            self._progress.add_task("", total=shown["epochs"], more="")
            self._progress.start()
        place = place_in_view(shown)
        who = CALLED[place.part] if place.part and _baseline(shown) else _phase(shown)
        self._progress.update(
            self._progress.task_ids[0],
            description=escape(f"{shown.get('name') or shown['id']}: {who}, epoch"),
            completed=place.part_epoch,
            total=place.part_epochs,
            more=", ".join(_figures(shown)),
        )


def _essence(shown: dict[str, Any]) -> tuple[Any, ...]:
    """Return the values whose change is worth a line in a log: not the time left, nor that an epoch has begun."""
    waiting = [each["detail"] for each in (shown.get("waiting_for") or ())[:1]]
    told = [shown.get(name) for name in ("status", "phase", "reason", "message")]
    return (*told, waiting, shown.get("metrics_alone") or shown.get("metrics") or shown.get("epoch"))


def line_of(shown: dict[str, Any]) -> str:
    """Return a state in one line.

    >>> line_of({"id": "job_1", "status": "running", "phase": "train", "epoch": 2, "part": "student", "part_epoch": 2,
    ...          "part_epochs": 9, "eta_seconds": 60})
    'job_1: running, train, epoch 2/9, about 1 min 00 s left'
    """
    parts = [str(shown["status"])]
    if shown.get("waiting_for"):
        parts.append(str(shown["waiting_for"][0]["detail"]))
    elif shown.get("epoch"):
        where = words_of(place_in_view(shown), _baseline(shown))
        if shown["status"] != DONE:
            parts += [where] if _baseline(shown) else [_phase(shown), where]
        parts += _figures(shown)
    if shown.get("message"):
        parts.append(f"{shown['reason']}: {shown['message']}")
    return f"{shown['id']}: " + ", ".join(parts)


def _baseline(shown: dict[str, Any]) -> bool:
    return bool((shown.get("spec") or {}).get("baseline"))


def _phase(shown: dict[str, Any]) -> str:
    return str(shown["phase"]).replace("_", " ")


def _figures(shown: dict[str, Any]) -> list[str]:
    """Return Ultralytics' AP and the remaining time; a job that is not running has none."""
    parts = []
    of_alone = shown.get("part") == ALONE and shown["status"] != DONE  # the result is the distilled student
    newest = shown.get("metrics_alone" if of_alone else "metrics")
    if (ap := (newest or {}).get("mAP50_95")) is not None:
        parts.append(f"mAP50_95 {ap:.1f}")
    if shown.get("eta_seconds") is not None and shown["status"] == "running":
        parts.append(f"about {duration(shown['eta_seconds'])} left")
    return parts
