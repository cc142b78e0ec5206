"""VisDrone-DET annotations: a text file per image, `x,y,width,height,score,category,truncation,occlusion` in px.

Score 0 means "ignore"; category 0 is an ignored region, 1 to 10 are the classes, 11 is "others", not evaluated.
(Zhu et al., "Detection and Tracking Meet Drones Challenge", TPAMI 2021.)

    python -m rdrkd.data.visdrone OUT --train VisDrone2019-DET-train --val VisDrone2019-DET-val
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rdrkd.data import conversion, yolo
from rdrkd.data.conversion import problem, size_fault
from rdrkd.data.data_yaml import write_yaml
from rdrkd.data.faults import Faults
from rdrkd.data.frames import Box, Frame
from rdrkd.data.images import ImageFault, decode
from rdrkd.data.label_lookup import LabelFiles
from rdrkd.data.layout import images_in
from rdrkd.data.text_files import text_of
from rdrkd.errors import DatasetError, Problem
from rdrkd.files import files_below

NAMES = (
    "pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus", "motor",
)  # fmt: skip
OTHERS = 11
_WHOLE = re.compile(r"[+-]?[0-9]{1,9}(\.0{0,9})?")


@dataclass(frozen=True)
class Source:
    """One split in VisDrone's layout: a folder of images and one of annotations with the same names."""

    images: Path
    annotations: Path


def parse_line(line: str) -> Box | None:
    """Parse one line; None for a box without size, of which the real annotations contain a few.

    Raises:
        ValueError: the line is not an annotation.

    >>> parse_line("684,8,273,116,0,0,0,0").ignored, parse_line("406,119,265,70,1,4,0,1").label
    (True, 3)
    """
    words = [word.strip() for word in line.strip().rstrip(",").split(",")]
    if len(words) != 8 or not all(_WHOLE.fullmatch(word) for word in words):
        raise ValueError(f"expected 8 whole numbers of at most 9 digits with commas, got {line.strip()[:80]!r}")
    x, y, width, height, score, category, truncation, occlusion = (int(float(word)) for word in words)
    if not 0 <= category <= OTHERS:
        raise ValueError(f"expected a category from 0 to {OTHERS}, got {category}")
    if width <= 0 or height <= 0:
        return None
    label = None if category in (0, OTHERS) else category - 1
    return Box(label, x, y, width, height, score == 0 or label is None, truncation, occlusion)


def read(file: Path, image: str, width: int, height: int) -> Frame:
    """Read the annotations of one image of width x height px.

    Raises:
        DatasetError: lines are faulty; with a problem for each.
    """
    boxes, problems, _ = parse(file, file.name)
    if problems:
        raise DatasetError(f"{problems[0].where}: {problems[0].detail}", problems)
    return Frame(image, width, height, tuple(box for _, box in boxes))


def parse(file: Path, where: str) -> tuple[list[tuple[int, Box]], list[Problem], int]:
    """Read a file's valid boxes, each with its line number.

    Also return a problem for each faulty line, and the number of boxes without size, which are left out.

    Args:
        file: the annotations of one image.
        where: the file's name in problems.

    Raises:
        DatasetError: it is not text, or too large.
    """
    if (size := file.stat().st_size) > yolo.MOST_LABEL_BYTES:
        raise DatasetError(f"expected at most {yolo.MOST_LABEL_BYTES} bytes, got {size}")
    try:
        text = text_of(file)
    except UnicodeDecodeError as error:
        raise DatasetError(f"expected text in UTF-8 or UTF-16, got: {error}") from error
    boxes, problems, flat = [], [], 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            box = parse_line(line)
        except ValueError as error:
            problems.append(Problem(f"{where}:{number}", str(error)))
            continue
        flat += box is None
        if box is not None:
            boxes.append((number, box))
    return boxes, problems, flat


def to_text(frame: Frame) -> str:
    """Write a frame's boxes as VisDrone annotations; coordinates are rounded to whole px."""
    lines = []
    for box in frame.boxes:
        place = [round(v) for v in (box.x, box.y, box.width, box.height)]
        category = 0 if box.label is None else box.label + 1
        lines.append(",".join(map(str, [*place, int(not box.ignored), category, box.truncation, box.occlusion])) + "\n")
    return "".join(lines)


def frames_in(folder: Path, images: Path, annotations: Path, faults: Faults) -> Iterator[tuple[Path, Frame]]:
    """Yield the images of a folder with their annotations, which have the same relative path in the other folder."""
    files, read, flat = LabelFiles(), set(), Counter[str]()
    for image in images_in(images):
        where = image.relative_to(folder).as_posix()
        file = files.named(annotations / image.relative_to(images).with_suffix(".txt"), image)
        read.add(file)
        size, fault = size_fault(image)
        if fault is None and not file.is_file():
            fault = f"expected its annotations at {file.relative_to(folder).as_posix()}, got nothing there"
        faults.add("images", problem(where, fault))
        if size is not None and fault is None:
            frame, whole = _frame(file, file.relative_to(folder).as_posix(), image.name, size, faults, flat)
            if frame is not None and (whole or not faults.drop_incomplete(where)):
                yield image, frame
    if rest := [file for file in files_below(annotations) if file.suffix.lower() == ".txt" and file not in read]:
        example = min(rest).relative_to(folder).as_posix()
        faults.warnings.append(f"skipped {len(rest)} VisDrone annotation files without an image, such as {example}")
    if flat:
        faults.warnings.append(f"skipped {flat.total()} VisDrone boxes without any size, such as in {next(iter(flat))}")


def _frame(
    file: Path, where: str, image: str, size: tuple[int, int], faults: Faults, flat: Counter[str]
) -> tuple[Frame | None, bool]:
    """Return an image's annotations, px, and whether all are valid; None for a file that cannot be read.

    Boxes without size are left out and counted by file.
    """
    try:
        numbered, problems, without_size = parse(file, where)
    except DatasetError as error:
        faults.add("images", [Problem(where, str(error))])
        return None, False
    if without_size:
        flat[where] += without_size
    boxes = []
    for number, box in numbered:
        if (fault := yolo.box_fault(box, *size)) is None:
            boxes.append(box)
        else:
            problems.append(Problem(f"{where}:{number}", fault))
    faults.add("lines", problems)
    return Frame(image, *size, tuple(boxes)), not problems


def convert(sources: Mapping[str, Source], out: Path) -> Path:
    """Convert VisDrone folders to a dataset in YOLO layout; a faulty annotation leaves nothing behind.

    Ignored regions and "others" are left out of the labels and become crowds of every class in
    `annotations/<split>.json`, so that the evaluation ignores detections there.

    Args:
        sources: by split (train, val, test).
        out: the folder to create; it must not exist.

    Returns:
        The path of the data YAML.

    Raises:
        DatasetError: `out` exists, or images or annotations are missing or faulty.
    """
    if out.exists():
        raise DatasetError(f"expected a new folder to write to, got {out}, which exists")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for split, source in sources.items():
            made, faults = conversion.Made(), Faults()
            folder = Path(os.path.commonpath([source.images, source.annotations]))
            frames = _decoded(frames_in(folder, source.images, source.annotations, faults), folder)
            place = shutil.copy2
            conversion.write_split(partial, folder, conversion.Source(split, frames), NAMES, made, place)
            faults.refuse()
            if not made.came_from:
                raise DatasetError(f"expected images in {source.images}, got none")
        write_yaml(partial / "data.yaml", NAMES, list(sources))
        partial.chmod(0o755)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out / "data.yaml"


def _decoded(frames: Iterator[tuple[Path, Frame]], folder: Path) -> Iterator[tuple[Path, Frame]]:
    """Decode all images completely; yield them with their frames.

    Raises:
        DatasetError: an image cannot be decoded.
    """
    for image, frame in frames:
        try:
            decode(image)
        except ImageFault as error:
            raise DatasetError(f"{image.relative_to(folder)}: {error}") from error
        yield image, frame


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the converter; exit status 0, or 3 with a sentence on stderr."""
    parser = argparse.ArgumentParser(prog="python -m rdrkd.data.visdrone", description="VisDrone-DET to YOLO layout")
    parser.add_argument("out", type=Path, help="the folder to make")
    for split in ("train", "val", "test"):
        parser.add_argument(
            f"--{split}", type=Path, help="folder with images/ and annotations/", required=split != "test"
        )
    options = parser.parse_args(arguments)
    given = {s: path for s in ("train", "val", "test") if (path := getattr(options, s)) is not None}
    try:
        made = convert({s: Source(p / "images", p / "annotations") for s, p in given.items()}, options.out)
    except DatasetError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    sys.stdout.write(f"{made}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
