"""Sources of datasets besides uploads: local folders and buckets that the operator allows.

A request only looks (what is there, how much, whether it may be taken); a worker copies (`worker.importing`). Both
open the source by the words that the client used, which the dataset's row keeps.
"""

from typing import Protocol

from api.settings import Settings
from api.uploads.datasets import folders
from api.uploads.datasets.packing import Sink

BUCKET = "s3://"


class Source(Protocol):
    """What a dataset is to be made of; looked at, and not yet copied."""

    filename: str  # that its archive is shown with
    suffix: str  # that its archive is stored with
    size: int  # bytes, when it was inspected

    def copy(self, sink: Sink, most: int) -> None:
        """Write it as one archive.

        Raises:
            PathNotAllowed: something in it leads out by now.
            TooLarge: it has more than `most` bytes.
            UnusableReference: it changed while it was read, or cannot be read.
            Unavailable: it does not answer.
        """


def open_source(settings: Settings, source: str, *, patient: bool) -> Source:
    """Look at a source.

    Args:
        settings: which list what is allowed.
        source: `NAME/PATH` of a folder, or `s3://bucket/prefix`.
        patient: try again and again where a bucket does not answer.

    Raises:
        PathNotAllowed: it is none that may be taken.
        UnknownReference: nothing is there.
        TooLarge: it is more than a dataset may have.
        Unavailable: it does not answer.
    """
    if not source.startswith(BUCKET):
        return folders.look(settings, source)
    from api.uploads.datasets import buckets  # an optional extra, which the embedded service does not need

    return buckets.look(settings, source, patient)
