"""Recognise uploads in unsupported layouts, such as other tools' exports, by the content of their files."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rdrkd.data.remedies import DATA_YAML
from rdrkd.data.text_files import first_line
from rdrkd.errors import DatasetError
from rdrkd.file_signatures import head_of
from rdrkd.spec.splitting import HOW

CLASSES = "classes.txt"  # class names, one per line, as Label Studio and labelImg write them
_LOOKED_AT = 50  # files examined per kind
_NUMBER = r"[+-]?\d*\.?\d+([eE][+-]?\d+)?"
_EXPORT = "export it as COCO JSON, or as YOLO with a data.yaml"


@dataclass(frozen=True)
class _Kind:
    """An unsupported layout.

    Attributes:
        suffix: suffix of its characteristic files.
        holds: whether a file with this suffix is of this kind, by its beginning.
        called: its name.
        remedy: what to do, in the message.
        advice: an example of it, below the message.
    """

    suffix: str
    holds: Callable[[Path], bool]
    called: str
    remedy: str
    advice: str = ""


def recognise(files: Sequence[Path], folder: Path) -> DatasetError | None:
    """Return the refusal of an upload in an unsupported layout; None if it is not recognised.

    Args:
        files: the visible files of the upload.
        folder: the unpacked upload.
    """
    if darknet := _darknet(files, folder):
        return darknet
    for classes in class_lists(files):
        there = classes.relative_to(folder).as_posix()
        return DatasetError(
            f"recognised YOLO labels without a data YAML ({there}, as Label Studio exports them): "
            f"expected a data.yaml with `names` and the folders or lists of `train` and `val`; or {HOW}",
            advice=DATA_YAML,
        )
    for kind in _KINDS:
        alike = [file for file in files if file.suffix.lower() == kind.suffix]
        example = next((file for file in alike[:: max(1, len(alike) // _LOOKED_AT)] if kind.holds(file)), None)
        if example is not None:
            there = example.relative_to(folder).as_posix()
            return DatasetError(f"recognised {kind.called} ({there}): {kind.remedy}", advice=kind.advice)
    if jsons := [file for file in files if file.suffix.lower() == ".json"]:
        return DatasetError(
            f"expected COCO JSON with the lists images, annotations, categories, got {len(jsons)} JSON files without "
            f"them, such as {jsons[0].relative_to(folder).as_posix()}"
        )
    return None


def class_lists(files: Sequence[Path]) -> list[Path]:
    """Return the upload's lists of class names that have YOLO labels beside them."""
    found = [file for file in files if file.name == CLASSES]
    return [p for p in found if (p.parent / "labels").is_dir() or any(p.parent.glob("*.txt"))]


def _darknet(files: Sequence[Path], folder: Path) -> DatasetError | None:
    inside = (part for file in files for part in file.relative_to(folder).parents)
    there = next((place for place in inside if re.fullmatch(r"obj_.*_data", place.name)), None)
    if there is None:
        return None
    return DatasetError(
        f"recognised a Darknet export ({there.as_posix()}/, CVAT's `YOLO 1.1`), whose class names (obj.names) are not "
        "read: export it from CVAT as `Ultralytics YOLO Detection`, or add a data.yaml with `names`, `train` and `val`",
        advice=DATA_YAML,
    )


def _line(pattern: str) -> Callable[[Path], bool]:
    whole = re.compile(pattern, re.ASCII)
    return lambda file: whole.fullmatch(first_line(file)) is not None


def _words(*words: str) -> Callable[[Path], bool]:
    sought = [word.encode() for word in words]
    return lambda file: all(word in head_of(file) for word in sought)


_KINDS = (
    _Kind(
        ".txt", _line(r"-?\d+(\s*,\s*-?\d+){7},?"),
        "VisDrone's annotations in other folders than its own",
        "expected images/ and annotations/ beside each other, in one folder for each split (`train`, `val`)",
    ),
    _Kind(
        ".txt", _line(rf"\d+\s*,\s*-?\d+(\s*,\s*{_NUMBER}){{7,8}},?"),
        "annotations of videos, with frame and track numbers (VisDrone-VID, VisDrone-MOT, MOTChallenge)",
        "expected images/ and annotations/ with one text file for each image: use VisDrone-DET, or write the lines of "
        "each frame to a file of their own, without the first two numbers",
    ),
    _Kind(
        ".txt", _line(rf"imagesource:.*|({_NUMBER}\s+){{8}}\S+\s+[0-2]"),
        "DOTA's oriented boxes",
        "convert them to YOLO polygons (`class x1 y1 ... x4 y4` as fractions) and add a data.yaml",
        DATA_YAML,
    ),
    _Kind(
        ".txt", _line(rf"[A-Za-z]\S*(\s+{_NUMBER}){{14}}"),
        "KITTI's labels",
        "convert them to YOLO labels or COCO JSON",
    ),
    _Kind(
        ".txt", _line(rf"\d+(\s+{_NUMBER}){{4,}}"),
        "YOLO labels without class names",
        f"expected a data.yaml with `names` and the folders or lists of `train` and `val`; or a {CLASSES} and {HOW}",
        DATA_YAML,
    ),
    _Kind(".json", _words('"shapes"', '"shape_type"'), "LabelMe's JSON", _EXPORT, DATA_YAML),
    _Kind(".json", _words('"shape_attributes"'), "VGG Image Annotator's JSON", _EXPORT, DATA_YAML),
    _Kind(".json", _words('"coordinates"', '"label"', '"image"'), "Create ML's JSON", _EXPORT, DATA_YAML),
    _Kind(".json", _words('"classTitle"', '"geometryType"'), "Supervisely's JSON", _EXPORT, DATA_YAML),
    _Kind(".json", _words('"from_name"', '"to_name"'), "Label Studio's own JSON", _EXPORT, DATA_YAML),
    _Kind(".json", _words('"categories"', '"label"', '"labels"'), "Datumaro's JSON", _EXPORT, DATA_YAML),
    _Kind(
        ".json", _words('"image_id"', '"bbox"', '"score"'),
        "COCO's results of a detector",
        "expected annotations: COCO JSON with the lists images, annotations, categories",
    ),
    _Kind(
        ".xml", _words("<annotations>", "<image "),
        "CVAT's own XML (`CVAT for images`)",
        "export it from CVAT as `Ultralytics YOLO Detection` or `COCO`",
    ),
    _Kind(
        ".xml", _words("<annotations>", "<track "),
        "CVAT's own XML of a video (`CVAT for video`)",
        "export it from CVAT as `Ultralytics YOLO Detection` or `COCO`, with images",
    ),
)  # fmt: skip
