"""Split a dataset that has no split of its own, as its owner requests: by share and seed, in whole groups of images."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from rdrkd.errors import DatasetError
from rdrkd.spec.problems import sentence
from rdrkd.spec.references import TEXT

HOW = (
    "say how to divide it (`divide`, on the command line `--divide`): `val=0.2` takes a fifth of the images, "
    "`val=0.2,test=0.1,seed=3` a test split, too, and `val=0.2,prefix=_` keeps images together whose names agree up to "
    "the first `_` (frames of one flight)"
)
LONGEST = 200  # characters of a split as text
_BOUNDS = {
    "greater_than": "above", "greater_than_equal": "of at least", "less_than": "below", "less_than_equal": "of at most",
}  # fmt: skip


class Split(BaseModel):
    """How to split a dataset; the same images and settings give the same split on every machine."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    val: float = Field(gt=0, lt=1, description="share of validation images")
    test: float = Field(0.0, ge=0, lt=1, description="share of test images")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of the split")
    prefix: Annotated[str, StringConstraints(max_length=40, pattern=TEXT)] = Field(
        "",
        description="how to group images that stay in the same split: by the part of their names before this text, by "
        "their folder (`/`), or by this number of first characters; empty: each image by itself",
    )

    @model_validator(mode="after")
    def _leaves_images(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(f"expected val and test to leave images to train on, got {self.val:g} and {self.test:g}")
        return self

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `val=0.2,test=0.1,seed=3,prefix=_`; the prefix comes last, since it may contain a comma.

        Raises:
            ValueError: the text is invalid; the message gives the reason.

        >>> Split.parse("val=0.2,prefix=_").text, Split.parse("val=.25, seed=3").text
        ('val=0.2,prefix=_', 'val=0.25,seed=3')
        """
        if len(text) > LONGEST:
            raise ValueError(f"expected a split of at most {LONGEST} characters, got {len(text)}")
        head, _, prefix = text.partition("prefix=")
        words = [word.strip() for word in head.split(",") if word.strip()]
        known = all(re.fullmatch(r"(val|test|seed)\s*=\s*\S+", word) for word in words)
        if not known or (prefix and not head.rstrip().endswith(",")):
            raise ValueError(f"expected a split such as val=0.2,test=0.1,seed=3,prefix=_, got {text[:80]!r}")
        given = dict(re.split(r"\s*=\s*", word, maxsplit=1) for word in words)
        if len(given) < len(words):
            raise ValueError(f"expected each of val, test, seed and prefix once, got {text[:80]!r}")
        try:
            return cls.model_validate({**given, **({"prefix": prefix} if prefix else {})})
        except ValidationError as error:
            raise ValueError(_sentence(error.errors(include_url=False)[0])) from error

    @property
    def text(self) -> str:
        """Return the split as text, in canonical form."""
        more = [f"{name}={value!r}" for name, value in (("test", self.test), ("seed", self.seed)) if value]
        return ",".join([f"val={self.val!r}", *more, *([f"prefix={self.prefix}"] if self.prefix else [])])

    def divide(self, names: Sequence[str]) -> dict[str, list[int]]:
        """Return the indices of the images of each split, in the order of `names`.

        Groups are taken in the order of a hash of the seed and their name, so that the result depends neither on the
        order of the files nor on the machine. A group that would exceed a split's share by more than the split lacks
        is left for the next split.

        Args:
            names: names of the images, with their folders.

        Raises:
            DatasetError: there are too few images, or no two of their names agree up to the prefix.
        """
        groups: dict[str, list[int]] = defaultdict(list)
        for index, name in enumerate(names):
            groups[self._group(name)].append(index)
        wanted = [split for split in ("val", "test") if getattr(self, split)]
        if len(groups) <= len(wanted):
            raise DatasetError(
                f"expected at least {len(wanted) + 1} groups of images to divide ({self.text}), got {len(groups)} of "
                f"{len(names)} images"
            )
        if self.prefix and len(groups) == len(names):
            raise DatasetError(
                f"expected names that agree up to {self.prefix!r}, to keep images of one flight together, got "
                f"{len(names)} that do not, such as {names[0][-100:]}"
            )
        order = sorted(groups, key=lambda group: hashlib.sha256(f"{self.seed}\0{group}".encode()).digest())
        chosen: dict[str, list[int]] = {}
        for place, split in enumerate(wanted):
            spare = len(wanted) - place  # minimum number of groups for the other splits
            chosen[split] = self._taken(groups, order, getattr(self, split) * len(names), spare)
        chosen["train"] = [index for group in order for index in groups[group]]
        return {split: sorted(chosen[split]) for split in ("train", *wanted)}

    @staticmethod
    def _taken(groups: dict[str, list[int]], order: list[str], wanted: float, spare: int) -> list[int]:
        """Take groups from the front of the order until the split has its share, at least one."""
        found: list[int] = []
        for group in list(order):
            over = len(found) + len(groups[group]) - wanted
            if len(order) <= spare or (found and over > wanted - len(found)):
                continue
            found += groups[group]
            order.remove(group)
            if len(found) >= wanted:
                break
        return found

    def _group(self, name: str) -> str:
        path = PurePosixPath(name)
        if self.prefix == "/":
            return path.parent.as_posix()
        if self.prefix.isdecimal():
            return path.name[: int(self.prefix)]
        if not self.prefix:
            return name
        return path.stem.partition(self.prefix)[0] if self.prefix in path.stem else name


def _sentence(fault: Mapping[str, Any]) -> str:
    """Return the sentence on a setting at fault, from one of Pydantic's error dicts."""
    if not fault["loc"]:
        return sentence(fault)
    setting = fault["loc"][0]
    if fault["type"] not in _BOUNDS:
        return f"{setting}: {sentence(fault)}"
    (bound,) = fault["ctx"].values()
    kind = "seed" if setting == "seed" else "share"
    return f"{setting}: expected a {kind} {_BOUNDS[fault['type']]} {bound:.10g}, got {fault['input']}"


def needed(what: str) -> DatasetError:
    """Return the error for a dataset that neither names, folders nor lists split."""
    return DatasetError(f"expected a split into train and val, got {what} without one; {HOW}")
