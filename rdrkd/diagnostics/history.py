"""The recorded history of a run, for its report; any figure may be missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

_OF_A_PROBE = ("gradient_norm", "ratio", "cosine")  # a term's own figures; other names under it are its parts


@dataclass(frozen=True)
class Row:
    """An epoch from `metrics.jsonl`; values that are not finite numbers are omitted."""

    epoch: int
    epochs: int | None
    losses: dict[str, float]
    weights: dict[str, float]
    diagnostics: dict[str, float]
    metrics: dict[str, float]
    lr: float | None
    seconds: float | None


class Notice(NamedTuple):
    """A warning, how often it occurred, and in which epochs (unknown for earlier versions)."""

    code: str
    message: str
    times: int
    epochs: tuple[int, ...] = ()

    @property
    def when(self) -> str:
        """Return the epochs in which it occurred, as text; empty if unknown.

        >>> Notice("c", "m", 1, (3,)).when, Notice("c", "m", 4, (9, 3, 4)).when, Notice("c", "m", 1).when
        ('epoch 3', 'epochs 3 to 9', '')
        """
        if not self.epochs:
            return ""
        first, last = min(self.epochs), max(self.epochs)
        return f"epoch {first}" if first == last else f"epochs {first} to {last}"


class Failure(NamedTuple):
    """Why a run failed: a code, a message, and the problems as (where, detail)."""

    reason: str
    message: str
    problems: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Run:
    """A run folder's content.

    Attributes:
        folder: the folder's name.
        spec: the resolved spec.
        rows: the finished epochs, in order.
        warnings: distinct warnings, in order of first occurrence.
        failure: why it failed; None if it has not.
        result: the content of `result.json`, written or not yet; None if the run has not ended.
        alone: number of finished epochs of the student alone, which `rows` leaves out.
    """

    folder: str
    spec: Mapping[str, Any]
    rows: list[Row]
    warnings: list[Notice]
    failure: Failure | None
    result: Mapping[str, Any] | None
    alone: int = 0

    def setting(self, *path: str) -> Any:
        """Return a field of the resolved spec; None if absent."""
        return at(self.spec, *path)

    @property
    def terms(self) -> list[str]:
        """The distillation terms by name, as the spec lists them."""
        losses = self.setting("distillation", "losses")
        listed = [at(term, "name") for term in losses] if isinstance(losses, list) else []
        weighed = [name for row in self.rows for name in row.weights]
        return list(dict.fromkeys(name for name in [*listed, *weighed] if isinstance(name, str)))

    @property
    def task_losses(self) -> list[str]:
        """The names of the losses that are not distillation terms."""
        return [name for name in dict.fromkeys(name for row in self.rows for name in row.losses)
                if name not in self.terms]  # fmt: skip

    @property
    def planned(self) -> int | None:
        """The number of epochs that the spec sets."""
        asked = self.setting("train", "epochs")
        return asked if isinstance(asked, int) else self.rows[-1].epochs if self.rows else None

    @property
    def history_missing(self) -> bool:
        """Whether a finished training has no recorded epochs, because its `metrics.jsonl` is gone."""
        return self.result is not None and self.planned is not None and not self.rows

    def parts(self, term: str) -> list[str]:
        """Return the names of the summands of a term: levels, or `class` and `box`."""
        keys = dict.fromkeys(key for row in self.rows for key in row.diagnostics if key.startswith(f"{term}/"))
        names = [key.split("/")[1] for key in keys if key.count("/") == 1]
        return [name for name in names if name not in _OF_A_PROBE]


def at(node: Any, *path: str) -> Any:
    """Follow keys through nested objects; None if a key is missing.

    >>> at({"train": {"epochs": 3}}, "train", "epochs"), at({"train": None}, "train", "epochs")
    (3, None)
    """
    for key in path:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def finite(value: Any) -> float | None:
    """Return a value if it is a finite number, else None.

    >>> finite(2), finite("2"), finite(True), finite(float("nan"))
    (2.0, None, None, None)
    """
    number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return float(value) if number else None
