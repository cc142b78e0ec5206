"""An unpacked upload of any known layout becomes a dataset in YOLO layout, the same on every machine."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rdrkd.data import from_coco, from_visdrone, lenient
from rdrkd.data.conversion import rewrite
from rdrkd.data.dataset import Dataset, uploaded_dataset
from rdrkd.data.faults import Faults
from rdrkd.data.formats import Format

LENIENT = ".lenient"  # what tells the unpacked folder of a lenient look from that of a strict one


@dataclass(frozen=True)
class Settled:
    """An upload as a dataset.

    Attributes:
        dataset: what a run reads.
        notes: as JSON values, `format` and, of a lenient look, `dropped` (see `Faults.notes`).
        came_from: of a converted one, the place that an image had, by its new one; both relative.
    """

    dataset: Dataset
    notes: dict[str, Any]
    came_from: dict[str, str] = field(default_factory=dict)


def settle(folder: Path, form: Format, faults: Faults, sha256: str = "") -> Settled:
    """Make an unpacked upload a dataset, in its place.

    Args:
        folder: the unpacked upload.
        form: its layout, as `detect` says.
        faults: strict or lenient; a strict look refuses only what it cannot convert here, the rest is `check`'s.
        sha256: of the archive, for the dataset that is given.

    Raises:
        DatasetError: it is refused.
    """
    came_from: dict[str, str] = {}
    if form != Format.YOLO:
        names, sources = (from_coco if form == Format.COCO else from_visdrone).sources(folder, faults)
        came_from = rewrite(folder, names, sources).came_from
        faults.refuse()
    dataset = uploaded_dataset(folder, sha256)
    if faults.lenient:
        lenient.clean(dataset, faults)
        dataset = uploaded_dataset(folder, sha256)  # an annotation file may have gone, or a split's last image
    notes = {"format": str(form)} | ({"dropped": faults.notes()} if faults.lenient else {})
    return Settled(dataset, notes, came_from)
