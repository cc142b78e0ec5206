"""The owner's options for reading a dataset, used by its check and by every run."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from api.tables.datasets import Dataset
from rdrkd.spec.references import TEXT
from rdrkd.spec.splitting import LONGEST, Split

LENIENT = "leave out faulty images, label lines and annotations, and list them, instead of rejecting the dataset"
KEEP = "with `lenient`: keep an image that loses one of its boxes; by default the image is left out too"
DIVIDE = (
    "how to split a dataset that has no split of its own, such as `val=0.2,test=0.1,seed=3,prefix=_`; only `val` is "
    "required. `prefix` keeps together images whose names agree up to that text, such as the frames of one flight"
)


@dataclass(frozen=True)
class Words:
    """The owner's options; `divide` is a `rdrkd.spec.splitting.Split` as text."""

    lenient: bool = False
    keep: bool = False
    divide: str | None = None

    @classmethod
    def of(cls, row: Dataset) -> "Words":
        """Return the options in a row."""
        return cls(row.lenient, row.keep, row.divide)

    @property
    def values(self) -> dict[str, Any]:
        """Return the options as columns."""
        return {"lenient": self.lenient, "keep": self.keep, "divide": self.divide}

    @property
    def options(self) -> list[str]:
        """Return the options as command-line arguments."""
        divide = [] if self.divide is None else [f"--divide={self.divide}"]
        return [*(["--lenient"] if self.lenient else []), *(["--keep"] if self.keep else []), *divide]


AS_IT_IS = Words()


def check_keep(lenient: bool, keep: bool) -> None:
    """Make sure that `keep` comes with `lenient`.

    Raises:
        ValueError: it comes alone.
    """
    if keep and not lenient:
        raise ValueError("expected `keep` only together with `lenient`, got it alone")


def checked(text: str | None) -> str | None:
    """Normalise `divide`; None for an empty text. Raises ValueError if it is invalid.

    >>> checked("val=.2, seed=3"), checked(" ")
    ('val=0.2,seed=3', None)
    """
    return Split.parse(text).text if text is not None and text.strip() else None


Divide = Annotated[Annotated[str, Field(max_length=LONGEST, pattern=TEXT)] | None, AfterValidator(checked)]
