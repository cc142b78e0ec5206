"""Open a dataset, wherever and in whatever layout it is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rdrkd.data.archive import unpack
from rdrkd.data.dataset import Dataset, local_dataset
from rdrkd.data.faults import Faults
from rdrkd.data.formats import detect
from rdrkd.data.limits import Limits
from rdrkd.data.reading import AS_IT_IS, Reading
from rdrkd.data.uploads import reopened, settle
from rdrkd.errors import DatasetError


def open_dataset(
    path: Path,
    cache: Path,
    limits: Limits | None = None,
    reading: Reading | None = None,
) -> Dataset:
    """Open a dataset; an archive is unpacked under `cache/<sha256>/` once, however often and by however many.

    What an archive holds in another layout (`rdrkd.data.formats`) is converted there.

    The labels and pixels are not looked at: `rdrkd.data.check` does that.

    Args:
        path: a folder or a data YAML of this machine's owner, or a stranger's archive.
        cache: the folder of unpacked archives; made when one is opened.
        limits: what an archive may hold.
        reading: how its owner wants an archive to be read.

    Raises:
        DatasetError: it is no dataset in a known layout, or the archive is refused.
        DiskFullError: no room to unpack it.
    """
    reading = reading or AS_IT_IS
    if not path.exists():
        raise DatasetError(f"expected a dataset at {path}, got nothing there")
    if path.is_dir() or path.suffix.lower() in (".yaml", ".yml"):
        if reading.split is not None:
            raise DatasetError("expected a split for an archive only, got one for a folder, which is never written to")
        return local_dataset(path)

    def accept(folder: Path) -> dict[str, Any]:
        faults = Faults(reading.lenient, reading.keep)
        return settle(folder, detect(folder, reading.split), faults, split=reading.split).notes

    unpacked = unpack(path, cache.resolve(), limits, accept, reading.variant)
    return replace(reopened(unpacked.folder, unpacked.sha256, unpacked.notes).dataset, hold=unpacked.hold)
