"""How to read an archive, as its owner chose: the same in its check and in every run."""

import hashlib
from dataclasses import dataclass

from rdrkd.spec.splitting import Split

LENIENT = ".lenient"  # suffix of the unpacked folder in lenient mode


@dataclass(frozen=True)
class Reading:
    """An owner's options for reading an archive.

    Attributes:
        lenient: leave out faulty items instead of refusing the dataset.
        keep: in lenient mode, keep an image that loses one of its boxes.
        split: how to divide a dataset without splits.
    """

    lenient: bool = False
    keep: bool = False
    split: Split | None = None

    @property
    def variant(self) -> str:
        """Return the suffix of the unpacked folder's name, which depends on the options.

        >>> Reading().variant, Reading(lenient=True, keep=True).variant
        ('', '.lenient.keep')
        """
        found = (LENIENT + (".keep" if self.keep else "")) if self.lenient else ""
        if self.split is None:
            return found
        return f"{found}.split-{hashlib.sha256(self.split.text.encode()).hexdigest()[:16]}"


AS_IT_IS = Reading()
