"""VisDrone-DET annotations: a text file per image, `x,y,width,height,score,category,truncation,occlusion` in px.

Score 0 says "ignore"; category 0 is an ignored region, 1 to 10 are the classes, 11 is "others", which is not evaluated.
(Zhu et al., "Detection and Tracking Meet Drones Challenge", TPAMI 2021.)

    python -m rdrkd.data.visdrone OUT --train VisDrone2019-DET-train --val VisDrone2019-DET-val
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rdrkd.data import coco, yolo
from rdrkd.data.data_yaml import write_yaml
from rdrkd.data.frames import Box, Frame
from rdrkd.data.images import ImageFault, decode
from rdrkd.data.layout import images_in
from rdrkd.errors import DatasetError, Problem

NAMES = (
    "pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus", "motor",
)  # fmt: skip
OTHERS = 11


@dataclass(frozen=True)
class Source:
    """One split as VisDrone hands it out: a folder of images and one of annotations of the same names."""

    images: Path
    annotations: Path


def parse_line(line: str) -> Box | None:
    """Read one line; None for a box without any size, of which the real annotations hold a few.

    Raises:
        ValueError: the line is no annotation.

    >>> parse_line("684,8,273,116,0,0,0,0").ignored, parse_line("406,119,265,70,1,4,0,1").label
    (True, 3)
    """
    words = line.strip().rstrip(",").split(",")
    try:
        x, y, width, height, score, category, truncation, occlusion = (int(word) for word in words)
    except ValueError:
        raise ValueError(f"expected 8 whole numbers with commas, got {line.strip()[:80]!r}") from None
    if not 0 <= category <= OTHERS:
        raise ValueError(f"expected a category from 0 to {OTHERS}, got {category}")
    if width <= 0 or height <= 0:
        return None
    label = None if category in (0, OTHERS) else category - 1
    return Box(label, x, y, width, height, score == 0 or label is None, truncation, occlusion)


def read(file: Path, image: str, width: int, height: int) -> Frame:
    """Read the annotations of one image of width x height px.

    Raises:
        DatasetError: with a problem for each line at fault.
    """
    boxes, problems = parse(file, file.name)
    if problems:
        raise DatasetError(f"{problems[0].where}: {problems[0].detail}", problems)
    return Frame(image, width, height, tuple(box for _, box in boxes))


def parse(file: Path, where: str) -> tuple[list[tuple[int, Box]], list[Problem]]:
    """Read a file's boxes, each with its line's number, as far as it goes, and give a problem for each line at fault.

    Args:
        file: the annotations of one image.
        where: what problems call the file.

    Raises:
        DatasetError: it is no text, or too much of it.
    """
    if (size := file.stat().st_size) > yolo.MOST_LABEL_BYTES:
        raise DatasetError(f"expected at most {yolo.MOST_LABEL_BYTES} bytes, got {size}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"expected text in UTF-8, got: {error}") from error
    boxes, problems = [], []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            box = parse_line(line) if line.strip() else None
        except ValueError as error:
            problems.append(Problem(f"{where}:{number}", str(error)))
            continue
        if box is not None:
            boxes.append((number, box))
    return boxes, problems


def to_text(frame: Frame) -> str:
    """Write a frame's boxes as VisDrone annotations; coordinates are rounded to whole px."""
    lines = []
    for box in frame.boxes:
        place = [round(v) for v in (box.x, box.y, box.width, box.height)]
        category = 0 if box.label is None else box.label + 1
        lines.append(",".join(map(str, [*place, int(not box.ignored), category, box.truncation, box.occlusion])) + "\n")
    return "".join(lines)


def convert(sources: Mapping[str, Source], out: Path) -> Path:
    """Turn VisDrone folders into a dataset in YOLO layout; nothing of it stays if one annotation is at fault.

    Ignored regions and "others" are left out of the labels and become, in `annotations/<split>.json`, crowds of every
    class, so that the evaluation counts no detection there.

    Args:
        sources: by split (train, val, test).
        out: the folder to make; it must not exist.

    Returns:
        The path of the data YAML.

    Raises:
        DatasetError: `out` exists, or images or annotations are missing or at fault.
    """
    if out.exists():
        raise DatasetError(f"expected a new folder to write to, got {out}, which exists")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for split, source in sources.items():
            _convert_split(split, source, partial)
        write_yaml(partial / "data.yaml", NAMES, list(sources))
        partial.chmod(0o755)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out / "data.yaml"


def _convert_split(split: str, source: Source, out: Path) -> None:
    images, labels = out / "images" / split, out / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    frames = []
    for image in images_in(source.images):
        annotation = source.annotations / f"{image.stem}.txt"
        if not annotation.is_file():
            raise DatasetError(f"expected the annotations of {image.name} at {annotation}, got nothing there")
        try:
            frame = yolo.distinct(read(annotation, image.name, *decode(image)))
        except ImageFault as error:
            raise DatasetError(f"{image.name}: {error}") from error
        shutil.copy2(image, images / image.name)
        (labels / f"{image.stem}.txt").write_text(yolo.to_text(frame), encoding="utf-8")
        frames.append(frame)
    if not frames:
        raise DatasetError(f"expected images in {source.images}, got none")
    coco.write(out / "annotations" / f"{split}.json", frames, NAMES)


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
