"""Check every label line and every pixel of a dataset, and count its contents."""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rdrkd import suffixes
from rdrkd.data import coco, yolo
from rdrkd.data.agreement import disagreement
from rdrkd.data.dataset import Dataset
from rdrkd.data.figures import of_all, of_split
from rdrkd.data.frames import Box, Frame
from rdrkd.data.ignored import ignored_among
from rdrkd.data.images import ImageFault, decode, quiet_decoders
from rdrkd.errors import DatasetError, Problem
from rdrkd.figures import counted
from rdrkd.files import file_sha256
from rdrkd.problem_grouping import Grouped

MOST_PROBLEMS = 100
_INSIDE = 0.8  # least share of a box that is in its image


@dataclass(frozen=True)
class Warned:
    """A warning; `code` is that of the dataset doctor's corresponding detailed finding (`rdrkd.data.diagnosis`)."""

    text: str
    code: str = "check"


@dataclass
class Findings:
    """Problems, warnings and statistics."""

    warned: list[Warned] = field(default_factory=list)
    statistics: dict[str, Any] = field(default_factory=dict)
    _found: Grouped = field(default_factory=Grouped)

    @property
    def warnings(self) -> list[str]:
        """Return the warnings, a sentence each."""
        return [one.text for one in self.warned]

    def warn(self, texts: Iterable[str], code: str = "check") -> None:
        """Add warnings of one kind."""
        self.warned += [Warned(text, code) for text in texts]

    def add(self, problems: Iterable[Problem]) -> None:
        """Add problems; count equal ones."""
        self._found.add(problems)

    @property
    def problems(self) -> list[Problem]:
        """Return the first MOST_PROBLEMS problems."""
        return self.listed()[0]

    def listed(self, called: Mapping[str, str] | None = None) -> tuple[list[Problem], int]:
        """Return the first MOST_PROBLEMS problems, and the number of others; `called` maps places to other names."""
        return self._found.listed(MOST_PROBLEMS, called)

    def counted(self) -> list[tuple[Problem, int]]:
        """Return the first MOST_PROBLEMS problems, each with the number of equal ones that it stands for."""
        return self._found.counted(MOST_PROBLEMS)

    def refuse_problems(self) -> None:
        """Raise `DatasetError` with the problems, if there are any."""
        if problems := self.problems:
            first = problems[0]
            found = counted(self._found.total, "problem")
            raise DatasetError(f"{found}, the first at {first.where}: {first.detail}", problems)


@dataclass(frozen=True)
class Examined:
    """One image with its labels; the size, px, is None when it could not be decoded."""

    image: Path
    sha256: str
    size: tuple[int, int] | None
    labelled: bool
    labels: yolo.Labels
    problems: list[Problem]

    @property
    def boxes(self) -> list[Box]:
        """Return the labelled boxes, px."""
        return self.labels.boxes


def check(dataset: Dataset, look: Callable[[str, list[Examined]], object] | None = None) -> Findings:
    """Decode every image, read every label line and every annotation file, and count.

    Args:
        dataset: the dataset to check.
        look: called with each split and its examined images, for further checks.
    """
    findings = Findings(statistics={"splits": {}})
    findings.warn(dataset.notes)
    if regions := ignored_among(dataset.names):
        marks = ", ".join(sorted(regions))
        findings.warn([f"classes that mark regions to ignore are trained like any other: {marks}; remove their labels"])
    seen: dict[str, dict[str, str]] = {}
    if missing := [split for split in ("train", "val") if split not in dataset.splits]:
        findings.warn([f"no {' and no '.join(missing)} split: the dataset can be evaluated on, but not trained on"])
    for split in dataset.splits:
        examined = examine(dataset, split)
        if look is not None:
            look(split, examined)
        findings.add(problem for one in examined for problem in one.problems)
        findings.add(no_objects(dataset, split, examined))
        findings.warned += _label_warnings(dataset, split, examined)
        findings.warn(_unread_warnings(dataset, split))
        ignored = _check_annotations(dataset, split, examined, findings) if split in dataset.annotations else 0
        sizes = [one.size for one in examined if one.size]
        counted = [one.boxes if one.size else [] for one in examined]
        findings.statistics["splits"][split] = of_split(dataset.names, sizes, counted, ignored)
        seen[split] = {one.sha256: one.image.name for one in examined}
    findings.warn(_leaks(seen), "duplicates")
    findings.statistics |= of_all(findings.statistics["splits"].values())
    if dataset.scaling is not None:
        low, high = dataset.scaling.low, dataset.scaling.high
        findings.statistics["scaling"] = {"low": low, "high": high}
        text = f"images with more than 8 bits per channel are scaled: values from {low:g} to {high:g} become 0 to 255"
        findings.warn([f"{text}; scale the student's input in the same way"], "deep_images")
    return findings


def examine(dataset: Dataset, split: str) -> list[Examined]:
    """Decode every image of a split and read its labels."""
    workers = min(4, len(os.sched_getaffinity(0)))  # Pillow releases the interpreter lock while decoding
    with quiet_decoders(), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda image: _examine(dataset, image), dataset.images(split)))


def _examine(dataset: Dataset, image: Path) -> Examined:
    problems, size = [], None
    try:
        decode(image)  # to its last pixel: OpenCV silently fills in missing pixels of a truncated file
        height, width = dataset.read(image).shape[:2]
        size = (width, height)
    except ImageFault as fault:
        problems.append(Problem(where_in(dataset, image), str(fault)))
    file = dataset.label(image)
    # An image without a label file is one without objects.
    width, height = size or (1, 1)
    labels = yolo.read_file(file, width, height, len(dataset.names), where_in(dataset, file))
    if file.is_dir():
        problems.append(Problem(where_in(dataset, file), "expected a label file, got a folder"))
    elif (other := dataset.labels.misnamed(image)) is not None:
        problems.append(Problem(where_in(dataset, image), f"expected the label file {file.name}, got {other.name}"))
    return Examined(image, file_sha256(image), size, file.is_file(), labels, problems + labels.problems)


def no_objects(dataset: Dataset, split: str, examined: Sequence[Examined]) -> list[Problem]:
    """Refuse a split without any object; without any label file, its labels are probably elsewhere."""
    if split == "test" and not any(one.labelled for one in examined):
        return []  # public benchmarks withhold its labels; `_label_warnings` warns
    if not any(one.labelled for one in examined):
        example = where_in(dataset, dataset.label(examined[0].image))
        return [Problem(split, f"expected label files such as {example}, got none for {len(examined)} images")]
    if not any(one.boxes or one.problems for one in examined):
        return [Problem(split, f"expected labelled objects, got none in {len(examined)} images")]
    return []


def _label_warnings(dataset: Dataset, split: str, examined: Sequence[Examined]) -> list[Warned]:
    warnings = []
    missing = sum(not one.labelled for one in examined)
    if missing == len(examined) and split == "test":
        text = f"{split}: none of {len(examined)} images has a label file, so the split cannot be evaluated on"
        return [Warned(text, "empty_images")]
    if 0 < missing < len(examined):  # without any label file, the split is refused
        text = f"{split}: {missing} of {len(examined)} images have no label file and count as images without objects"
        warnings.append(Warned(text, "empty_images"))
    if twice := sum(one.labels.repeated for one in examined):
        warnings.append(Warned(f"{split}: {twice} duplicate label lines were dropped"))
    if polygons := sum(one.labels.polygons for one in examined):
        warnings.append(Warned(f"{split}: {polygons} labels are polygons; their bounding boxes are used"))
    if beyond := [one for one in examined if one.size is not None and any(_is_beyond(b, one.size) for b in one.boxes)]:
        text = f"{split}: boxes of {len(beyond)} images reach far beyond their image, such as in {beyond[0].image.name}"
        warnings.append(Warned(f"{text}; are they x1, y1, x2, y2 in place of x, y, width, height?"))
    files = Counter(dataset.label(one.image) for one in examined if one.labelled)
    if shared := sorted(file for file, images in files.items() if images > 1):
        text = f"{split}: {len(shared)} label files belong to several images, such as {shared[0].name}"
        warnings.append(Warned(f"{text}: images whose names differ only in their suffix have the same labels"))
    if orphans := _orphans(dataset, {dataset.label(one.image) for one in examined}):
        warnings.append(Warned(f"{split}: {len(orphans)} label files have no image, such as {orphans[0].name}"))
    present = {box.label for one in examined for box in one.boxes}
    if present and (absent := [name for label, name in enumerate(dataset.names) if label not in present]):
        text = f"{split}: no objects of {len(absent)} classes: {', '.join(absent[:20])}"
        warnings.append(Warned(text, "class_absent"))
    return warnings


def _is_beyond(box: Box, size: tuple[int, int]) -> bool:
    """Return whether more of a box is outside its image than imprecise annotation or rounding explains."""
    width, height = (
        max(0.0, min(end, side) - max(start, 0.0))
        for start, end, side in zip((box.x, box.y), (box.x + box.width, box.y + box.height), size, strict=True)
    )
    return width * height < _INSIDE * box.width * box.height


def _orphans(dataset: Dataset, expected: set[Path]) -> list[Path]:
    """Return the label files in a split's label folders that belong to no image of any split."""
    folders = {path.parent for path in expected}
    others = [p for folder in folders for p in folder.glob("*.txt") if p not in expected and not _is_list(p)]
    if not others:  # the usual case: no need to examine the other splits
        return []
    known = {dataset.label(image) for images in dataset.splits.values() for image in images}
    return [path for path in others if path not in known]


def _is_list(file: Path) -> bool:
    """Return whether a text file beside labels is a list of classes or images rather than a label file."""
    return file.name == "classes.txt" or re.fullmatch(r"(split\.)?(train|val|test)\.txt", file.name) is not None


def _check_annotations(dataset: Dataset, split: str, examined: Sequence[Examined], findings: Findings) -> int:
    """Compare the split's COCO JSON with its images and labels; return the number of its ignored boxes."""
    where = where_in(dataset, dataset.annotations[split])
    parsed = coco.parse(dataset.annotations[split], dataset.names, where)
    frames, problems = parsed.frames, [*parsed.image_problems, *parsed.annotation_problems]
    findings.add(problems)
    findings.warn(parsed.warnings)
    if problems:
        return 0
    findings.add(fit(dataset, split, frames, examined, where)[1])
    if repeated := sum(len(frame.boxes) - len(yolo.distinct(frame).boxes) for frame in frames):
        findings.warn([f"{where}: {repeated} boxes repeat another one of their image and count once"])
    return sum(box.ignored for frame in frames for box in frame.boxes)


def fit(
    dataset: Dataset,
    split: str,
    frames: Sequence[Frame],
    examined: Sequence[Examined],
    where: str,
    incomplete: Collection[str] = (),
) -> tuple[dict[Path, Frame], list[Problem]]:
    """Match a split's images with frames; return them, and a problem for each entry or image without a match.

    A frame matches an image of its size and with its labels; a split without any labels is evaluated by its JSON only.

    Args:
        dataset: the dataset.
        split: one of its splits.
        frames: the entries of its COCO JSON.
        examined: its images.
        where: the file's name in problems.
        incomplete: file names of frames with a known fault; they need not agree with the labels.
    """
    looked = {one.image: one for one in examined}
    labelled = any(one.labelled for one in examined)
    here = [one.image for one in examined]
    fitting: dict[Path, Frame] = {}
    named: set[Path] = set()
    problems = []
    for frame, image in zip(frames, dataset.matching(split).match([f.file for f in frames]), strict=True):
        entry = f"{where}: {frame.file[:200]}"
        if isinstance(image, str) or image not in looked:
            problems.append(Problem(entry, image if isinstance(image, str) else "its image cannot be used"))
            continue
        named.add(image)
        one = looked[image]
        if one.size is not None and one.size != (frame.width, frame.height):
            came = f"{frame.width}x{frame.height}"
            problems.append(Problem(entry, f"expected its size, {one.size[0]}x{one.size[1]} px, got {came}"))
        elif (
            labelled
            and not (one.problems or frame.file in incomplete)
            and (fault := disagreement(one.boxes, yolo.distinct(frame), dataset.names)) is not None
        ):
            problems.append(Problem(entry, fault))
        else:
            fitting[image] = frame
    for image in here:
        if image not in named:
            detail = "expected an entry for this image of the split, got none"
            problems.append(Problem(f"{where}: {where_in(dataset, image)}", detail))
    return fitting, problems


def _unread_warnings(dataset: Dataset, split: str) -> list[str]:
    """Warn of files beside the images that other tools would train on, but that are not read here."""
    folders = {image.parent for image in dataset.images(split)}
    unread = sorted(p for folder in folders for p in folder.iterdir() if p.suffix.lower() in suffixes.UNREAD)
    if not unread:
        return []
    kinds = ", ".join(sorted({p.suffix.lower() for p in unread}))
    return [f"{split}: {len(unread)} files beside the images are not read ({kinds}), such as {unread[0].name}"]


def _leaks(seen: dict[str, dict[str, str]]) -> list[str]:
    """Find images that a split shares with the training images, which make its figures meaningless."""
    train = seen.get("train", {})
    return [
        f"{split}: {len(shared)} images are also in train, byte by byte, such as {images[min(shared)]}"
        for split, images in seen.items()
        if split != "train" and (shared := set(images) & set(train))
    ]


def where_in(dataset: Dataset, file: Path) -> str:
    """Return a file's path relative to the dataset."""
    return str(file.relative_to(dataset.root)) if file.is_relative_to(dataset.root) else file.name
