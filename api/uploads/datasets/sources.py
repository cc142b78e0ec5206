"""Sources of datasets besides uploads: local folders and buckets that the operator allows.

A request only inspects the source (its content, size and whether it is allowed); a worker copies it
(`worker.importing`). Both open it by the client's text, which the dataset's row stores.
"""

from typing import Protocol

from api.settings import Settings
from api.uploads.datasets import folders
from api.uploads.datasets.packing import Sink

BUCKET = "s3://"


class Source(Protocol):
    """The source of a dataset, inspected but not copied yet."""

    filename: str  # display name of its archive
    suffix: str  # suffix of its stored archive
    size: int  # bytes, when it was inspected

    def copy(self, sink: Sink, most: int) -> None:
        """Write it as one archive.

        Raises:
            PathNotAllowed: a link in it now leads out of it.
            TooLarge: it has more than `most` bytes.
            UnusableReference: it changed while it was read, or cannot be read.
             Unavailable: it does not respond.
        """


def open_source(settings: Settings, source: str, *, patient: bool) -> Source:
    """Inspect a source.

    Args:
        settings: they list the allowed sources.
        source: `NAME/PATH` of a folder, or `s3://bucket/prefix`.
        patient: retry if a bucket does not respond.

    Raises:
        PathNotAllowed: it is not an allowed source.
        UnknownReference: it does not exist.
        TooLarge: it exceeds the limits of a dataset.
        Unavailable: it does not respond.
    """
    if not source.startswith(BUCKET):
        return folders.look(settings, source)
    from api.uploads.datasets import buckets  # an optional extra, which the embedded service does not need

    return buckets.look(settings, source, patient)
