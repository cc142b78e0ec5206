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


def is_local(path: Path) -> bool:
    """Return whether a dataset is a folder or a data YAML, which is read where it lies, and no archive."""
    return path.is_dir() or path.suffix.lower() in (".yaml", ".yml")


def refuse_options(path: Path, reading: Reading) -> None:
    """Refuse to read a folder otherwise than as it is: dividing it or leaving out parts of it would write to it.

    Raises:
        DatasetError: the reading has options.
    """
    if reading != AS_IT_IS:
        raise DatasetError(
            f"expected an archive for --lenient, --keep and --divide, got {path.name}, whose own files are never "
            "written to: pack the folder as a .zip"
        )


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
    if is_local(path):
        refuse_options(path, reading)
        return local_dataset(path)

    def accept(folder: Path) -> dict[str, Any]:
        faults = Faults(reading.lenient, reading.keep)
        return settle(folder, detect(folder, reading.split), faults, split=reading.split).notes

    unpacked = unpack(path, cache.resolve(), limits, accept, reading.variant)
    return replace(reopened(unpacked.folder, unpacked.sha256, unpacked.notes).dataset, hold=unpacked.hold)
