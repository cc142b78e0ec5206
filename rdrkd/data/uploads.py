"""An unpacked upload of any known layout becomes a dataset in YOLO layout, the same on every machine."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rdrkd.data import from_coco, from_plain, from_visdrone, from_voc, lenient
from rdrkd.data.conversion import rewrite
from rdrkd.data.dataset import Dataset, range_of, uploaded_dataset
from rdrkd.data.faults import Faults
from rdrkd.data.formats import Format
from rdrkd.data.pixels import Scaling
from rdrkd.errors import DatasetError, Problem
from rdrkd.spec.splitting import Split

_CONVERTED = {Format.COCO: from_coco, Format.VISDRONE: from_visdrone, Format.VOC: from_voc}


@dataclass(frozen=True)
class Settled:
    """An upload as a dataset.

    Attributes:
        dataset: what a run reads.
        notes: as JSON values, `format`, of a lenient look `dropped` (see `Faults.notes`), and `divide` where the owner
            has divided it.
        came_from: of a converted one, the place that an image had, by its new one; both relative.
    """

    dataset: Dataset
    notes: dict[str, Any]
    came_from: dict[str, str] = field(default_factory=dict)


def settle(folder: Path, form: Format, faults: Faults, sha256: str = "", split: Split | None = None) -> Settled:
    """Make an unpacked upload a dataset, in its place.

    Args:
        folder: the unpacked upload.
        form: its layout, as `detect` says.
        faults: strict or lenient; a strict look refuses only what it cannot convert here, the rest is `check`'s.
        sha256: of the archive, for the dataset that is given.
        split: how to divide an upload that has no split.

    Raises:
        DatasetError: it is refused.
    """
    try:
        return _settle(folder, form, faults, sha256, split)
    except DatasetError as error:
        # What was left out until nothing remained is the reason, and not what remained.
        problems = [*(error.problems or [Problem("dataset", str(error))]), *faults.dropped]
        raise DatasetError(str(error), problems if faults.dropped else error.problems) from error


def _settle(folder: Path, form: Format, faults: Faults, sha256: str, split: Split | None) -> Settled:
    came_from: dict[str, str] = {}
    if form != Format.YOLO:
        names, sources = _CONVERTED[form].sources(folder, faults, split)
        made = rewrite(folder, names, sources)
        came_from = made.came_from
        if made.repeated:
            faults.warnings.append(f"dropped {made.repeated} boxes that repeat another one of their image")
        faults.refuse()
    elif split is not None:
        from_plain.divide(folder, split)
    dataset = uploaded_dataset(folder, sha256)
    scaling = range_of(dataset.splits)
    if faults.lenient:
        lenient.clean(replace(dataset, scaling=scaling), faults)
        from_plain.list_what_is_left(folder, dataset)
        dataset = uploaded_dataset(folder, sha256)  # an annotation file may have gone, or a split's last image
    notes: dict[str, Any] = {"format": str(form), "warnings": faults.warnings}
    if faults.lenient:
        notes["dropped"] = faults.notes()
    if split is not None:
        notes["divide"] = split.text
    if scaling is not None:
        notes["scaling"] = [scaling.low, scaling.high]
    return Settled(_noted(replace(dataset, scaling=scaling), notes), notes, came_from)


def reopened(folder: Path, sha256: str, notes: dict[str, Any]) -> Settled:
    """Open what has been settled before.

    Raises:
        DatasetError: it is no dataset any more.
    """
    scaling = Scaling(*notes["scaling"]) if "scaling" in notes else None
    dataset = _noted(uploaded_dataset(folder, sha256, scaling), notes)
    return Settled(dataset, {"format": str(Format.YOLO)} | notes)


def _noted(dataset: Dataset, notes: dict[str, Any]) -> Dataset:
    """Return the dataset with what its conversion has changed, for the warnings of its check."""
    changed = list(notes.get("warnings", []))
    if counts := notes.get("dropped", {}).get("counts"):
        shown = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
        changed.append(f"dropped because of errors (lenient mode): {shown}")
    return replace(dataset, divide=notes.get("divide"), notes=(*changed, *dataset.notes))
