"""Look at every label line and every pixel of a dataset: what is wrong with it, and what it holds."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rdrkd.data import coco, yolo
from rdrkd.data.dataset import Dataset
from rdrkd.data.figures import of_all, of_split
from rdrkd.data.frames import Box, Frame
from rdrkd.data.images import ImageFault, decode, quiet_decoders
from rdrkd.errors import DatasetError, Problem
from rdrkd.files import file_sha256

MOST_PROBLEMS = 100


@dataclass
class Findings:
    """What is wrong (the first MOST_PROBLEMS, and how many more), what deserves a look, and what there is."""

    problems: list[Problem] = field(default_factory=list)
    more_problems: int = 0
    warnings: list[str] = field(default_factory=list)
    statistics: dict[str, Any] = field(default_factory=dict)

    def add(self, problems: Iterable[Problem]) -> None:
        """Keep problems up to the limit, and count the rest."""
        for problem in problems:
            if len(self.problems) < MOST_PROBLEMS:
                self.problems.append(problem)
            else:
                self.more_problems += 1

    def refuse_problems(self) -> None:
        """Raise `DatasetError` with the problems, if there are any."""
        if self.problems:
            count, first = len(self.problems) + self.more_problems, self.problems[0]
            raise DatasetError(f"{count} problems, the first at {first.where}: {first.detail}", self.problems)


@dataclass(frozen=True)
class Examined:
    """One image with its labels; the size, px, is None when it could not be decoded."""

    image: Path
    sha256: str
    size: tuple[int, int] | None
    labelled: bool
    boxes: list[Box]
    problems: list[Problem]


def check(dataset: Dataset) -> Findings:
    """Decode every image, read every label line and every annotation file, and count."""
    findings = Findings(statistics={"splits": {}})
    seen: dict[str, dict[str, str]] = {}
    for split in dataset.splits:
        examined = examine(dataset, split)
        findings.add(problem for one in examined for problem in one.problems)
        findings.add(_no_objects(dataset, split, examined))
        findings.warnings += _label_warnings(dataset, split, examined)
        ignored = _check_annotations(dataset, split, examined, findings) if split in dataset.annotations else 0
        sizes = [one.size for one in examined if one.size]
        counted = [one.boxes if one.size else [] for one in examined]
        findings.statistics["splits"][split] = of_split(dataset.names, sizes, counted, ignored)
        seen[split] = {one.sha256: one.image.name for one in examined}
    findings.warnings += _leaks(seen)
    findings.statistics |= of_all(findings.statistics["splits"].values())
    return findings


def examine(dataset: Dataset, split: str) -> list[Examined]:
    """Decode every image of a split and read its labels."""
    workers = min(4, len(os.sched_getaffinity(0)))  # Pillow decodes without holding the interpreter
    with quiet_decoders(), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda image: _examine(dataset, image), dataset.images(split)))


def _examine(dataset: Dataset, image: Path) -> Examined:
    problems, size = [], None
    try:
        size = decode(image)
    except ImageFault as fault:
        problems.append(Problem(where_in(dataset, image), str(fault)))
    file = yolo.label_path(image)
    # An image without a label file is one without objects.
    boxes, faults = _read_labels(dataset, file, size or (1, 1)) if file.is_file() else ([], [])
    return Examined(image, file_sha256(image), size, file.is_file(), boxes, problems + faults)


def _read_labels(dataset: Dataset, file: Path, size: tuple[int, int]) -> tuple[list[Box], list[Problem]]:
    where = where_in(dataset, file)
    if file.stat().st_size > yolo.MOST_LABEL_BYTES:
        return [], [Problem(where, f"expected at most {yolo.MOST_LABEL_BYTES} bytes, got {file.stat().st_size}")]
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        return [], [Problem(where, f"expected text in UTF-8, got: {error}")]
    return yolo.read_text(text, *size, len(dataset.names), where)


def _no_objects(dataset: Dataset, split: str, examined: Sequence[Examined]) -> list[Problem]:
    """Refuse a split of nothing but background; without a single label file the labels lie somewhere else."""
    if not any(one.labelled for one in examined):
        example = where_in(dataset, yolo.label_path(examined[0].image))
        return [Problem(split, f"expected label files such as {example}, got none for {len(examined)} images")]
    if not any(one.boxes or one.problems for one in examined):
        return [Problem(split, f"expected labelled objects, got none in {len(examined)} images")]
    return []


def _label_warnings(dataset: Dataset, split: str, examined: Sequence[Examined]) -> list[str]:
    warnings = []
    if missing := sum(not one.labelled for one in examined):
        warnings.append(f"{split}: {missing} of {len(examined)} images have no label file and count as empty")
    if twice := sum(len(one.boxes) - len(set(one.boxes)) for one in examined):
        warnings.append(f"{split}: {twice} label lines repeat another one")
    expected = {yolo.label_path(one.image) for one in examined}
    if orphans := [p for folder in {p.parent for p in expected} for p in folder.glob("*.txt") if p not in expected]:
        warnings.append(f"{split}: {len(orphans)} label files have no image, such as {orphans[0].name}")
    present = {box.label for one in examined for box in one.boxes}
    if absent := [name for label, name in enumerate(dataset.names) if label not in present]:
        warnings.append(f"{split}: no objects of {len(absent)} classes: {', '.join(absent[:20])}")
    return warnings


def _check_annotations(dataset: Dataset, split: str, examined: Sequence[Examined], findings: Findings) -> int:
    """Compare the split's COCO JSON with its images and labels; give the number of its ignored boxes."""
    file = dataset.annotations[split]
    frames, problems = coco.parse(file, dataset.names)
    where = where_in(dataset, file)
    findings.add(Problem(p.where.replace(file.name, where, 1), p.detail) for p in problems)
    if problems:
        return 0
    by_name = {Path(frame.file).name: frame for frame in frames}
    findings.add(mismatches(where, by_name, examined))
    labelled = sum(len(one.boxes) for one in examined)
    if (annotated := sum(not box.ignored for frame in frames for box in frame.boxes)) != labelled:
        findings.warnings.append(f"{split}: {labelled} labelled boxes, but {annotated} annotated ones in {where}")
    return sum(box.ignored for frame in frames for box in frame.boxes)


def mismatches(where: str, by_name: dict[str, Frame], examined: Sequence[Examined]) -> Iterable[Problem]:
    """Compare the entries of COCO JSON, by file name, with the images that are there."""
    names = {one.image.name for one in examined}
    for name in by_name:
        if name not in names:
            yield Problem(f"{where}: {name}", "expected an image of this name in the split, got none")
    for one in examined:
        frame = by_name.get(one.image.name)
        if frame is None:
            yield Problem(f"{where}: {one.image.name}", "expected an entry for this image of the split, got none")
        elif one.size is not None and one.size != (frame.width, frame.height):
            came = f"{frame.width}x{frame.height}"
            yield Problem(
                f"{where}: {one.image.name}", f"expected its size, {one.size[0]}x{one.size[1]} px, got {came}"
            )


def _leaks(seen: dict[str, dict[str, str]]) -> list[str]:
    """Find images that a split shares with the training images: figures measured on them mean nothing."""
    train = seen.get("train", {})
    return [
        f"{split}: {len(shared)} images are also in train, byte by byte, such as {images[min(shared)]}"
        for split, images in seen.items()
        if split != "train" and (shared := set(images) & set(train))
    ]


def where_in(dataset: Dataset, file: Path) -> str:
    """Say where a file is in the dataset."""
    return str(file.relative_to(dataset.root)) if file.is_relative_to(dataset.root) else file.name
