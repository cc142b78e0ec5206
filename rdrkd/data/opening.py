"""Open a dataset, wherever and in whatever layout it is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rdrkd.data.archive import unpack
from rdrkd.data.dataset import Dataset, local_dataset
from rdrkd.data.faults import Faults
from rdrkd.data.formats import detect
from rdrkd.data.limits import Limits
from rdrkd.data.uploads import LENIENT, reopened, settle
from rdrkd.errors import DatasetError


def open_dataset(path: Path, cache: Path, limits: Limits | None = None, lenient: bool = False) -> Dataset:
    """Open a dataset; an archive is unpacked under `cache/<sha256>/` once, however often and by however many.

    What an archive holds in another layout (`rdrkd.data.formats`) is converted there.

    The labels and pixels are not looked at: `rdrkd.data.check` does that.

    Args:
        path: a folder or a data YAML of this machine's owner, or a stranger's archive.
        cache: the folder of unpacked archives; made when one is opened.
        limits: what an archive may hold.
        lenient: of an archive, leave out what is at fault instead of refusing it.

    Raises:
        DatasetError: it is no dataset in a known layout, or the archive is refused.
        DiskFullError: no room to unpack it.
    """
    if not path.exists():
        raise DatasetError(f"expected a dataset at {path}, got nothing there")
    if path.is_dir() or path.suffix.lower() in (".yaml", ".yml"):
        return local_dataset(path)

    def accept(folder: Path) -> dict[str, Any]:
        return settle(folder, detect(folder), Faults(lenient)).notes

    unpacked = unpack(path, cache.resolve(), limits, accept, LENIENT if lenient else "")
    return replace(reopened(unpacked.folder, unpacked.sha256, unpacked.notes).dataset, hold=unpacked.hold)
