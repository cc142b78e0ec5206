"""The output of commands: tables for people, JSON for programs, and the progress bar of a file transfer."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from rdrkd.figures import size

SetProgress = Callable[[int, int], None]  # (bytes done, total bytes)
COLUMNS = {
    "jobs": ("id", "kind", "name", "status", "epoch", "created_at"),
    "datasets": ("id", "name", "version", "filename", "format", "status", "shared", "size", "created_at"),
    "models": ("id", "name", "version", "aliases", "filename", "status", "shared", "size", "created_at"),
    "studies": ("id", "name", "status", "jobs", "created_at"),
    "workers": ("name", "queue", "alive", "works_on", "beat_at"),
    "webhooks": ("id", "name", "url", "events", "disabled_at", "created_at"),
    "deliveries": ("id", "event", "status", "created_at", "finished_at"),
    "events": ("seq", "at", "type", "detail"),
    "keys": ("id", "name", "owner", "scope", "expires_at", "last_used_at", "revoked_at"),
    "findings": ("what", "state", "detail", "advice"),
    "shares": ("reader", "created_at"),
    "artifacts": ("name", "epoch", "size", "sha256"),
}
# Columns that a narrow terminal omits, the least needed first; sentences (`findings`) are wrapped instead.
_DISPENSABLE = (
    "created_at", "beat_at", "finished_at", "last_used_at", "sha256", "size", "shared", "filename", "kind", "format",
    "events", "version", "epoch", "expires_at", "aliases", "jobs", "revoked_at", "disabled_at", "url", "name",
)  # fmt: skip
_WIDEST = 10_000  # columns: width of output to a pipe, which is never cut


class Terminal:
    """The output of one command: results on stdout, everything else on stderr."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.out, self.err = Console(), Console(stderr=True)

    def note(self, text: str) -> None:
        """Print a line to stderr."""
        self.err.print(text, highlight=False, markup=False, soft_wrap=True)

    def one(self, row: BaseModel | Mapping[str, Any]) -> None:
        """Print one object: for people its facts, a line each; for programs everything."""
        shown = plain(row)
        if self.as_json:
            print(json.dumps(shown))  # noqa: T201 - one line for programs, not wrapped
            return
        from rdrkd.cli.facts import facts_of

        self.facts(facts_of(shown))

    def document(self, content: Mapping[str, Any]) -> None:
        """Print JSON that people use as it is, such as a resolved spec."""
        print(json.dumps(content)) if self.as_json else self.out.print_json(json.dumps(content))  # noqa: T201

    def facts(self, lines: Iterable[tuple[str, str]]) -> None:
        """Print facts for people: a heading and a text a line."""
        table = Table.grid(padding=(0, 2))
        for heading, text in lines:
            table.add_row(heading, escape(text))
        self.out.print(table, highlight=False)

    def submitted(self, row: BaseModel, command: str) -> None:
        """Print the id of a submitted job or study, and how to follow it."""
        shown = plain(row)
        if self.as_json:
            self.one(shown)
            return
        self.note(f"{shown['status']}; follow it with `rdrkd {command} watch {shown['id']}`")
        print(shown["id"])  # noqa: T201

    def secret(self, row: Mapping[str, Any], field: str, note: str | None = None) -> None:
        """Print a secret that the service shows only once: for people the secret alone, after a note."""
        if self.as_json:
            self.one(row)
            return
        if note is not None:
            self.note(note)
        print(row[field])  # noqa: T201

    def file(self, path: Path) -> None:
        """Print the path of a file that was written."""
        print(json.dumps({"path": str(path)}) if self.as_json else path)  # noqa: T201

    def removed(self, id_: str, what: str = "deleted") -> None:
        """Report that something was deleted or revoked."""
        self.one({"id": id_, what: True}) if self.as_json else self.note(f"{id_}: {what}")

    def many(self, what: str, rows: Iterable[BaseModel | Mapping[str, Any]]) -> None:
        """Print a list: a table, or one line of JSON per row; for an empty one, people get a line on stderr."""
        if self.as_json:
            for row in rows:
                print(json.dumps(plain(row)))  # noqa: T201
            return
        shown, columns = [plain(row) for row in rows], list(COLUMNS[what])
        if not shown:
            self.note(f"no {what}")
            return
        if not self.out.is_terminal:
            self.out.width = _WIDEST
        elif what != "findings":
            room = self.out.options.update(width=_WIDEST)
            for column in _DISPENSABLE:
                if Measurement.get(self.out, room, _table(columns, shown)).maximum <= self.out.width:
                    break
                columns = [each for each in columns if each != column]
        self.out.print(_table(columns, shown, wrapped=what == "findings"), crop=False)

    @contextmanager
    def bar(self, name: str) -> Iterator[SetProgress | None]:
        """Draw the progress bar of a file transfer; yield the function that advances it, or None without a terminal."""
        if not self.err.is_terminal:
            yield None
            return
        columns = (TextColumn(escape(name)), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=self.err, transient=True) as progress:
            task = progress.add_task(name)
            yield lambda done, total: progress.update(task, completed=done, total=total)


def _table(columns: list[str], rows: list[dict[str, Any]], wrapped: bool = False) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=not wrapped, overflow="fold" if wrapped else "ignore")
    for row in rows:
        cells = (escape(readable(column, row.get(column))) for column in columns)
        table.add_row(*cells, style=_style(row.get("status")))
    return table


def time_of(value: str) -> str:
    """Format a time in whole seconds, with its zone.

    >>> time_of("2026-01-02T03:04:05.678Z")
    '2026-01-02 03:04:05Z'
    """
    return f"{datetime.fromisoformat(value):%Y-%m-%d %H:%M:%S%Z}".replace("UTC", "Z")


def readable(column: str, value: Any) -> str:
    """Return a value as text: a size with its unit, a time in whole seconds; `--json` prints both exactly."""
    if column == "size" and value is not None:
        return size(value)
    if (column == "at" or column.endswith(("_at", "_since"))) and value is not None:
        return time_of(value)
    return _cell(value)


def plain(row: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as JSON values."""
    return row.model_dump(mode="json") if isinstance(row, BaseModel) else dict(row)


def _cell(value: Any) -> str:
    if isinstance(value, dict):  # counts by name, or an object
        return str(value["id"]) if "id" in value else ", ".join(f"{number} {name}" for name, number in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _style(status: Any) -> str:
    return {"failed": "red", "invalid": "red", "cancelled": "yellow", "succeeded": "green"}.get(str(status), "")
