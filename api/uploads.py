"""What datasets and models share: an upload is stored first and checked by a worker afterwards."""

from enum import StrEnum


class UploadStatus(StrEnum):
    """Where an upload is."""

    CHECKING = "checking"  # stored; a worker has not judged it yet
    READY = "ready"  # inspected and usable
    INVALID = "invalid"  # inspected and refused; `problems` says why
