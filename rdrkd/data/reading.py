"""How an archive is read, as its owner says: what every look at it, and every run on it, must do alike."""

import hashlib
from dataclasses import dataclass

from rdrkd.spec.splitting import Split

LENIENT = ".lenient"  # what tells the unpacked folder of a lenient look from that of a strict one


@dataclass(frozen=True)
class Reading:
    """An owner's words on an archive.

    Attributes:
        lenient: leave out what is at fault, instead of refusing the whole.
        keep: of a lenient look, keep an image that loses one of its boxes.
        split: how to divide a dataset that comes without a split.
    """

    lenient: bool = False
    keep: bool = False
    split: Split | None = None

    @property
    def variant(self) -> str:
        """Return the end of the name of the unpacked folder: other words, another folder.

        >>> Reading().variant, Reading(lenient=True, keep=True).variant
        ('', '.lenient.keep')
        """
        found = (LENIENT + (".keep" if self.keep else "")) if self.lenient else ""
        if self.split is None:
            return found
        return f"{found}.split-{hashlib.sha256(self.split.text.encode()).hexdigest()[:16]}"


AS_IT_IS = Reading()
