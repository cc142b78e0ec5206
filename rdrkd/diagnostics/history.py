"""What a run has told of itself, as its report needs it: any figure may be missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

_OF_A_PROBE = ("gradient_norm", "ratio", "cosine")  # a term's own figures; whatever else is under its name is a part


@dataclass(frozen=True)
class Row:
    """An epoch as `metrics.jsonl` has it; what is no finite number is left out."""

    epoch: int
    epochs: int | None
    losses: dict[str, float]
    weights: dict[str, float]
    diagnostics: dict[str, float]
    metrics: dict[str, float]
    lr: float | None
    seconds: float | None


class Notice(NamedTuple):
    """A warning, how often it was given, and in which epochs (of earlier versions' nobody knows)."""

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
    """Why a run failed: a word for programs, a sentence, and what was at fault as (where, what about it)."""

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
        warnings: each once, in the order in which they first came.
        failure: why it failed; None of a run that has not.
        result: what is or will be in `result.json`; None of a run that has not ended.
        alone: finished epochs of the student that is trained alone, which `rows` leaves out.
    """

    folder: str
    spec: Mapping[str, Any]
    rows: list[Row]
    warnings: list[Notice]
    failure: Failure | None
    result: Mapping[str, Any] | None
    alone: int = 0

    def setting(self, *path: str) -> Any:
        """Return a field of the resolved spec; None where there is none."""
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
        """The names of the losses that are no terms."""
        return [name for name in dict.fromkeys(name for row in self.rows for name in row.losses)
                if name not in self.terms]  # fmt: skip

    @property
    def planned(self) -> int | None:
        """How many epochs the run was to have."""
        asked = self.setting("train", "epochs")
        return asked if isinstance(asked, int) else self.rows[-1].epochs if self.rows else None

    @property
    def history_missing(self) -> bool:
        """Whether a training has ended of which no epoch is known: its `metrics.jsonl` is gone."""
        return self.result is not None and self.planned is not None and not self.rows

    def parts(self, term: str) -> list[str]:
        """Return the names of what a term's value is the sum of: levels, or `class` and `box`."""
        keys = dict.fromkeys(key for row in self.rows for key in row.diagnostics if key.startswith(f"{term}/"))
        names = [key.split("/")[1] for key in keys if key.count("/") == 1]
        return [name for name in names if name not in _OF_A_PROBE]


def at(node: Any, *path: str) -> Any:
    """Follow keys through objects; None where there is no way.

    >>> at({"train": {"epochs": 3}}, "train", "epochs"), at({"train": None}, "train", "epochs")
    (3, None)
    """
    for key in path:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def finite(value: Any) -> float | None:
    """Return a value that is a finite number, else None.

    >>> finite(2), finite("2"), finite(True), finite(float("nan"))
    (2.0, None, None, None)
    """
    number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return float(value) if number else None
