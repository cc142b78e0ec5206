"""Convert an unpacked upload in any known layout to a dataset in YOLO layout, identically on every machine."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rdrkd.data import from_coco, from_plain, from_visdrone, from_voc, lenient
from rdrkd.data.conversion import rewrite
from rdrkd.data.data_yaml import refused
from rdrkd.data.dataset import Dataset, range_of, uploaded_dataset
from rdrkd.data.faults import Faults
from rdrkd.data.formats import Format
from rdrkd.data.pixels import Scaling
from rdrkd.data.remains import causes, emptied
from rdrkd.errors import DatasetError, Problem
from rdrkd.spec.splitting import Split

_CONVERTED = {Format.COCO: from_coco, Format.VISDRONE: from_visdrone, Format.VOC: from_voc}


@dataclass(frozen=True)
class Settled:
    """An upload converted to a dataset.

    Attributes:
        dataset: the dataset that a run reads.
        notes: JSON values: `format`, in lenient mode `dropped` (see `Faults.notes`), and `divide` if the owner has
            divided it.
        came_from: if converted, new path of an image -> its path in the upload; both relative.
    """

    dataset: Dataset
    notes: dict[str, Any]
    came_from: dict[str, str] = field(default_factory=dict)


def settle(folder: Path, form: Format, faults: Faults, sha256: str = "", split: Split | None = None) -> Settled:
    """Convert an unpacked upload to a dataset, in place.

    Args:
        folder: the unpacked upload.
        form: its layout, as returned by `detect`.
        faults: strict or lenient; in strict mode only what cannot be converted is refused here, the rest by `check`.
        sha256: hash of the archive, for the returned dataset.
        split: how to divide an upload without splits.

    Raises:
        DatasetError: it is refused.
    """
    try:
        return _settle(folder, form, faults, sha256, split)
    except DatasetError as error:
        # If nothing remained, the dropped items are the reason: they come first.
        problems = [*causes(faults), *(error.problems or [Problem("dataset", str(error))])]
        if faults.dropped:
            error.problems = tuple(problems)
        raise


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
        dataset = _what_is_left(folder, dataset, sha256, faults)
    notes: dict[str, Any] = {"format": str(form), "warnings": faults.warnings}
    if faults.lenient:
        notes["dropped"] = faults.notes()
    if split is not None:
        notes["divide"] = split.text
    if scaling is not None:
        notes["scaling"] = [scaling.low, scaling.high]
    return Settled(_noted(replace(dataset, scaling=scaling), notes), notes, came_from)


def _what_is_left(folder: Path, dataset: Dataset, sha256: str, faults: Faults) -> Dataset:
    """Open the dataset again: an annotation file or a split's last image may have been dropped."""
    from_plain.list_what_is_left(folder, dataset)
    try:
        return uploaded_dataset(folder, sha256)
    except DatasetError as error:
        raise (refused(problems) if (problems := emptied(dataset, faults)) else error) from error


def reopened(folder: Path, sha256: str, notes: dict[str, Any]) -> Settled:
    """Open an upload that was converted before.

    Raises:
        DatasetError: it is no longer a valid dataset.
    """
    scaling = Scaling(*notes["scaling"]) if "scaling" in notes else None
    dataset = _noted(uploaded_dataset(folder, sha256, scaling), notes)
    return Settled(dataset, {"format": str(Format.YOLO)} | notes)


def _noted(dataset: Dataset, notes: dict[str, Any]) -> Dataset:
    """Return the dataset with notes on its conversion's changes, for the warnings of its check."""
    changed = list(notes.get("warnings", []))
    if counts := notes.get("dropped", {}).get("counts"):
        shown = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
        changed.append(f"dropped because of errors (lenient mode): {shown}")
    left_out = tuple(Problem(**one) for one in notes.get("dropped", {}).get("listed", ()))
    return replace(dataset, divide=notes.get("divide"), left_out=left_out, notes=(*changed, *dataset.notes))
