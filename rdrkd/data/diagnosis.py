"""The dataset doctor: problems that affect a training, how often each occurs, an example, and advice."""

import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Literal

from rdrkd.data import likeness
from rdrkd.data.check import MOST_PROBLEMS, Examined, Findings, check, no_objects, where_in
from rdrkd.data.dataset import Dataset
from rdrkd.data.faults import INCOMPLETE
from rdrkd.data.opening import open_dataset
from rdrkd.data.pixels import is_deep
from rdrkd.data.reading import AS_IT_IS, Reading
from rdrkd.data.remedies import LENIENT
from rdrkd.errors import DatasetError, Problem
from rdrkd.problem_grouping import Grouped
from rdrkd.run_warnings import EASY, TOO_SMALL, input_for
from rdrkd.summary import summary

Counted = Sequence[tuple[Problem, int]]  # problems, each with the number of equal ones that it stands for
Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
_WHOLE = 0.95  # share of its image that a box covers
_IMBALANCE = 100  # ratio of the objects of the most and the least frequent class
_MOST_EMPTY = 0.5  # share of the images


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        severity: `error`: the dataset is refused; `warning`: costs accuracy or distorts a measurement; `note`: useful
            to know.
        code: machine-readable code.
        detail: description.
        count: number of occurrences.
        example: place of one occurrence.
        advice: what to do; empty where the detail says all that is known.
    """

    severity: Severity
    code: str
    detail: str
    count: int
    example: str
    advice: str


@dataclass(frozen=True)
class Diagnosis:
    """The findings on a dataset, errors first, and its content in one line; empty if it cannot be opened."""

    findings: list[Finding]
    content: str

    @property
    def is_refused(self) -> bool:
        """Return whether a finding is an error."""
        return any(finding.severity == "error" for finding in self.findings)


def diagnose(path: Path, imgsz: int = 640, reading: Reading | None = None) -> Diagnosis:
    """Examine a dataset for a training at `imgsz` px.

    Args:
        path: a folder, a data YAML or an archive.
        imgsz: side of the network's input, px.
        reading: how to read an archive.
    """
    looked: dict[str, list[Examined]] = {}
    with tempfile.TemporaryDirectory(prefix="rdrkd-doctor-") as cache:
        reading = reading or AS_IT_IS
        dataset, findings, problems, advice = _checked(path, Path(cache), reading, looked)
        found = _refusals(path, reading, problems, advice)
        if dataset is not None and findings is not None:
            found += [*_left_out(dataset), *_of_check(findings), *_of_all(dataset, looked)]
            found += _duplicates(dataset)
            for split, examined in looked.items():
                found += [*_of_split(dataset, split, examined), *_sizes(dataset, split, examined, imgsz)]
    content = summary(dataset.names, findings.statistics) if dataset is not None and findings is not None else ""
    return Diagnosis(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)), content)


def _checked(
    path: Path, cache: Path, reading: Reading, looked: dict[str, list[Examined]]
) -> tuple[Dataset | None, Findings | None, Counted, str]:
    """Open and check a dataset; return it with what was found, or the problems for which it is refused, and advice."""
    try:
        dataset = open_dataset(path, cache, reading=reading)
        findings = check(dataset, looked.__setitem__)
    except DatasetError as error:
        grouped = Grouped()
        grouped.add(error.problems or [Problem(path.name, str(error))])
        return None, None, grouped.counted(MOST_PROBLEMS), error.advice
    return dataset, findings, findings.counted(), ""


def _refusals(path: Path, reading: Reading, problems: Counted, advice: str) -> list[Finding]:
    """Return a finding for each group of equal problems; advise `--lenient` only where that leaves the fault out."""
    stubborn = {one for one, _ in problems}
    if problems and not reading.lenient and path.is_file():
        with tempfile.TemporaryDirectory(prefix="rdrkd-doctor-") as cache:
            stubborn = {one for one, _ in _checked(path, Path(cache), replace(reading, lenient=True), {})[2]}
    return [
        Finding("error", "refused", one.detail, count, one.where, advice if one in stubborn else LENIENT)
        for one, count in problems
    ]


def _left_out(dataset: Dataset) -> Iterator[Finding]:
    """Yield a finding for each group of equal faults that lenient mode left out."""
    grouped = Grouped()
    grouped.add(dataset.left_out)
    for one, count in grouped.counted(MOST_PROBLEMS):
        advice = "--keep keeps the image without that box" if one.detail.startswith(INCOMPLETE) else ""
        yield Finding("warning", "left_out", f"{one.where}: left out: {one.detail}", count, "", advice)


def _of_check(findings: Findings) -> Iterator[Finding]:
    for warning in findings.warned:
        if warning.code == "check":  # others are detailed findings below
            yield Finding("warning", "check", warning.text, 1, "", "")


def _of_all(dataset: Dataset, looked: Mapping[str, Sequence[Examined]]) -> Iterator[Finding]:
    if dataset.scaling is not None:
        low, high = dataset.scaling.low, dataset.scaling.high
        detail = f"images with more than 8 bits per channel: values from {low:g} to {high:g} become 0 to 255"
        deep = [one.image for examined in looked.values() for one in examined if is_deep(one.image)]
        yield Finding(
            "note",
            "deep_images",
            detail,
            len(deep),
            where_in(dataset, deep[0]) if deep else "",
            "scale the student's input in the same way at inference",
        )
    counts = Counter(box.label for one in looked.get("train", ()) for box in one.boxes)
    if len(counts) > 1:
        (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
        if many >= _IMBALANCE * few:
            detail = f"train: {many} objects of {_name(dataset, most)}, but {few} of {_name(dataset, least)}"
            advice = "add images of the rare class, merge it with another, or do not expect to detect it"
            yield Finding("warning", "class_imbalance", detail, few, _name(dataset, least), advice)


def _of_split(dataset: Dataset, split: str, examined: Sequence[Examined]) -> Iterator[Finding]:
    present = {box.label for one in examined for box in one.boxes}
    absent = [name for label, name in enumerate(dataset.names) if label not in present]
    if absent and present:
        effect = "the student cannot learn them" if split == "train" else "their AP cannot be measured"
        advice = f"{effect}: add images, split the dataset differently, or drop the classes"
        detail = f"{split}: no objects of {len(absent)} classes: {', '.join(absent[:10])}"
        severity: Severity = "warning" if split == "train" else "note"
        yield Finding(severity, "class_absent", detail, len(absent), absent[0], advice)
    empty = [one for one in examined if one.size is not None and not one.boxes and not one.problems]
    if empty and not no_objects(dataset, split, examined):  # otherwise an error says so
        share = len(empty) / len(examined)
        advice = "check that they are labelled: most images should show objects"
        advice = advice if share > _MOST_EMPTY else "nothing, if they are meant as background"
        detail = f"{split}: {len(empty)} of {len(examined)} images have no objects"
        severity = "warning" if share > _MOST_EMPTY else "note"
        yield Finding(severity, "empty_images", detail, len(empty), where_in(dataset, empty[0].image), advice)
    if whole := [
        one
        for one in examined
        for box in one.boxes
        if one.size is not None and box.width * box.height >= _WHOLE * one.size[0] * one.size[1]
    ]:
        detail = f"{split}: {len(whole)} boxes cover at least {_WHOLE:.0%} of their image"
        advice = "look at the example: such boxes are usually a conversion error"
        yield Finding("warning", "covers_image", detail, len(whole), where_in(dataset, whole[0].image), advice)
    yield from _other_sizes(dataset, split, examined)


def _other_sizes(dataset: Dataset, split: str, examined: Sequence[Examined]) -> Iterator[Finding]:
    sizes = Counter(one.size for one in examined if one.size is not None)
    if len(sizes) < 2:
        return
    (common, _), *_ = sizes.most_common()
    others = [one for one in examined if one.size not in (None, common)]
    detail = (
        f"{split}: {len(others)} images differ from the usual {common[0]}x{common[1]} px ({len(sizes) - 1} other sizes)"
    )
    yield Finding(
        "note", "image_sizes", detail, len(others), where_in(dataset, others[0].image),
        "each image is scaled to the input size separately, so equal objects appear at different scales",
    )  # fmt: skip


def _sizes(dataset: Dataset, split: str, examined: Sequence[Examined], imgsz: int) -> Iterator[Finding]:
    """Yield a finding on objects that are too small once the long side of their image is `imgsz` px."""
    sides = [
        (math.sqrt(box.width * box.height) / max(one.size), one)
        for one in examined
        for box in one.boxes
        if one.size is not None
    ]
    small = [one for side, one in sides if side * imgsz < TOO_SMALL]
    if not small:
        return
    wanted = input_for(median(side for side, _ in sides))
    detail = f"{split}: {len(small)} of {len(sides)} objects are smaller than {TOO_SMALL} px at imgsz {imgsz}"
    advice = "cut the images into tiles"
    if wanted is not None and wanted > imgsz:
        advice = f"train at a larger imgsz (at {wanted} the median object has {EASY} px), or {advice}"
    elif wanted is not None:  # the usual object is large enough
        advice = f"look at the example: correct or remove such labels if they are mistakes, or {advice}"
    yield Finding("warning", "too_small", detail, len(small), where_in(dataset, small[0].image), advice)


def _duplicates(dataset: Dataset) -> Iterator[Finding]:
    """Yield findings on images of val and test that look like a training image, or of test like one of val."""
    hashed = {split: likeness.hashes_of(dataset, split) for split in dataset.splits}
    for one, other in (("val", "train"), ("test", "train"), ("test", "val")):
        if one not in hashed or other not in hashed:
            continue
        if pairs := likeness.alike(*hashed[one], *hashed[other]):
            (image, like), *_ = pairs
            detail = f"{one}: {len(pairs)} images look like an image in {other}"
            example = f"{where_in(dataset, image)} and {where_in(dataset, like)}"
            advice = "AP measured on training images is too high: split by flight (--divide val=0.2,prefix=_)"
            yield Finding("warning", "duplicates", detail, len(pairs), example, advice)


def _name(dataset: Dataset, label: int | None) -> str:
    return dataset.names[label] if label is not None else ""
