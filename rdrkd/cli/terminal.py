"""What the commands print: tables for people, JSON for programs; and the bar of a file on its way."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from rdrkd.figures import duration

Told = Callable[[int, int], None]  # (bytes done, bytes in all)
COLUMNS = {
    "jobs": ("id", "kind", "name", "status", "epoch", "created_at"),
    "datasets": ("id", "name", "version", "filename", "format", "status", "size", "created_at"),
    "models": ("id", "name", "version", "aliases", "status", "size", "created_at"),
    "studies": ("id", "name", "status", "jobs", "created_at"),
    "workers": ("name", "queue", "alive", "works_on", "beat_at"),
    "keys": ("id", "name", "owner", "scope", "expires_at", "last_used_at", "revoked_at"),
    "findings": ("what", "state", "detail", "advice"),
    "artifacts": ("name", "epoch", "size", "sha256"),
}


class Terminal:
    """The output of one command: results on stdout, all else on stderr."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.out, self.err = Console(), Console(stderr=True)
        self._told = ""

    def note(self, text: str) -> None:
        """Print a line of progress for people."""
        self.err.print(text, highlight=False, markup=False, soft_wrap=True)

    def one(self, row: BaseModel | Mapping[str, Any]) -> None:
        """Print one thing, whole."""
        shown = _plain(row)
        if self.as_json:
            print(json.dumps(shown))  # noqa: T201 - one line for programs, not wrapped
        else:
            self.out.print_json(json.dumps(shown))

    def many(self, what: str, rows: Iterable[BaseModel | Mapping[str, Any]]) -> None:
        """Print a list: a table, or a line of JSON each."""
        if self.as_json:
            for row in rows:
                print(json.dumps(_plain(row)))  # noqa: T201
            return
        table = Table(*COLUMNS[what], box=SIMPLE_HEAD, pad_edge=False)
        for row in map(_plain, rows):
            table.add_row(*(_cell(row.get(column)) for column in COLUMNS[what]), style=_style(row.get("status")))
        self.out.print(table)

    def state(self, row: Any) -> None:
        """Print the state of a job or study that is being followed, in one line, once."""
        if self.as_json:
            self.one(row)
            return
        shown = _plain(row)
        parts = [str(shown["status"])]
        if shown.get("waiting_for"):
            parts.append(str(shown["waiting_for"][0]["detail"]))
        elif shown.get("epoch"):
            parts.append(f"{shown['phase']}, epoch {shown['epoch']}/{shown['epochs']}")
        if shown.get("eta_seconds") is not None:
            parts.append(f"about {duration(shown['eta_seconds'])} left")
        if shown.get("message"):
            parts.append(f"{shown['reason']}: {shown['message']}")
        line = f"{shown['id']}: " + ", ".join(parts)
        if line != self._told:
            self.note(line)
        self._told = line

    @contextmanager
    def bar(self, name: str) -> Iterator[Told | None]:
        """Draw the bar of a file on its way; give what moves it."""
        if not self.err.is_terminal:
            yield None
            return
        columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=self.err, transient=True) as progress:
            task = progress.add_task(name)
            yield lambda done, total: progress.update(task, completed=done, total=total)


def _plain(row: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    return row.model_dump(mode="json") if isinstance(row, BaseModel) else dict(row)


def _cell(value: Any) -> str:
    if isinstance(value, dict):  # counts by name, or a thing
        return str(value["id"]) if "id" in value else ", ".join(f"{number} {name}" for name, number in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _style(status: Any) -> str:
    return {"failed": "red", "invalid": "red", "cancelled": "yellow", "succeeded": "green"}.get(str(status), "")
