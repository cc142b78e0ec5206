"""Open a dataset, local or uploaded, in any known layout."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rdrkd.data.archive import unpack
from rdrkd.data.dataset import Dataset, local_dataset
from rdrkd.data.faults import Faults
from rdrkd.data.formats import detect
from rdrkd.data.limits import Limits
from rdrkd.data.reading import AS_IT_IS, Reading
from rdrkd.data.to_yolo import reopened, settle
from rdrkd.errors import DatasetError
from rdrkd.suggestion import file_suggestion


def open_dataset(
    path: Path,
    cache: Path,
    limits: Limits | None = None,
    reading: Reading | None = None,
) -> Dataset:
    """Open a dataset; unpack an archive once under `cache/<sha256>/`, which any number of processes share.

    An archive in another layout (`rdrkd.data.formats`) is converted there.

    Labels and pixels are not checked: see `rdrkd.data.check`.

    Args:
        path: a local folder or data YAML, or an untrusted archive.
        cache: the folder of unpacked archives; created when needed.
        limits: the limits of an archive.
        reading: how to read an archive, as its owner chose.

    Raises:
        DatasetError: it is not a dataset in a known layout, or the archive is refused.
        DiskFullError: no space to unpack it.
    """
    reading = reading or AS_IT_IS
    if not path.exists():
        raise DatasetError(f"expected a dataset at {path}, got nothing there{file_suggestion(path)}")
    if path.is_dir() or path.suffix.lower() in (".yaml", ".yml"):
        if reading.split is not None:
            raise DatasetError("expected a split for an archive only, got one for a folder, which is never written to")
        return local_dataset(path)

    def accept(folder: Path) -> dict[str, Any]:
        faults = Faults(reading.lenient, reading.keep)
        return settle(folder, detect(folder, reading.split), faults, split=reading.split).notes

    unpacked = unpack(path, cache.resolve(), limits, accept, reading.variant)
    return replace(reopened(unpacked.folder, unpacked.sha256, unpacked.notes).dataset, hold=unpacked.hold)
