"""What categories, coordinates and marks mean: nothing is trained on that was meant to be left out, and it is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rdrkd.data import open_dataset
from rdrkd.data.reading import Reading
from tests.rdrkd.data.crafted import make_dataset, make_image, zip_up
from tests.rdrkd.data.loading import the_same_everywhere

Document = dict[str, Any]


def coco(root: Path, categories: list[tuple[int, str, str | None]], boxes: dict[str, list[tuple[int, Any]]]) -> Path:
    """Write a COCO dataset of one image in each split: `boxes` are category ids with their bbox, by split."""
    for split, found in boxes.items():
        make_image(root / split / "a.png", seed=len(split))
        document: Document = {
            "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}],
            "categories": [{"id": id_, "name": name, "supercategory": above} for id_, name, above in categories],
            "annotations": [{"image_id": 1, "category_id": id_, "bbox": box} for id_, box in found],
        }
        (root / f"{split}.json").write_text(json.dumps(document))
    return root


CAR, PERSON = (1, [4, 4, 9, 9]), (2, [8, 8, 9, 9])
GROUPS: dict[str, tuple[list[tuple[int, str, str | None]], dict[str, Any], list[str]]] = {
    "two levels": (
        [(0, "objects", "none"), (3, "vehicles", "objects"), (1, "car", "vehicles"), (2, "person", "objects")],
        {"train": [CAR, PERSON], "val": [CAR]}, ["car", "person"],
    ),
    "under a word that is no category": (
        [(0, "traffic", "Roboflow"), (1, "car", "traffic"), (2, "person", "traffic")],
        {"train": [CAR, PERSON], "val": [CAR]}, ["car", "person"],
    ),
    "with boxes in one split": (
        [(0, "traffic", "none"), (1, "car", "traffic")],
        {"train": [CAR], "val": [CAR, (0, [9, 9, 5, 5])]}, ["traffic", "car"],
    ),
    "its own name": (
        [(1, "car", "car"), (2, "person", "person")],
        {"train": [CAR], "val": [CAR, PERSON]}, ["car", "person"],
    ),
    "its own name twice": (
        [(0, "car", "none"), (1, "car", "car"), (2, "person", "car")],
        {"train": [CAR], "val": [CAR, PERSON]}, ["car", "person"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("case", GROUPS)
def test_only_categories_that_group_others_and_have_no_boxes_are_no_classes(
    tmp_path: Path, case: str, lenient: bool
) -> None:
    categories, boxes, names = GROUPS[case]
    archive = zip_up(coco(tmp_path / "d", categories, boxes), tmp_path / "a.zip")
    report = the_same_everywhere(archive, tmp_path, Reading(lenient))
    assert report["ok"], report["problems"]
    assert report["names"] == names
    dropped = [name for _, name, _ in categories if name not in names]
    assert all(any("only group others" in w and name in w for w in report["warnings"]) for name in dropped)


def _voc(root: Path, names: list[str], corners: str = "4 4 9 9") -> Path:
    for split in ("train", "val"):
        make_image(root / f"{split}/a.png", seed=len(split))
        marks = zip(("xmin", "ymin", "xmax", "ymax"), corners.split(), strict=True)
        box = "".join(f"<{mark}>{value}</{mark}>" for mark, value in marks)
        objects = "".join(f"<object><name>{name}</name><bndbox>{box}</bndbox></object>" for name in names)
        (root / f"{split}/a.xml").write_text(f"<annotation>{objects}</annotation>")
    return root


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["car", "ignored regions"], ["car"]),
        (["car", "others"], ["car", "others"]),
        (
            ["pedestrian", "people", "tricycle", "awning-tricycle", "others", "Ignored_Regions"],
            ["awning-tricycle", "pedestrian", "people", "tricycle"],
        ),
    ],
)
def test_ignored_regions_of_voc_are_no_class(tmp_path: Path, names: list[str], classes: list[str]) -> None:
    report = the_same_everywhere(zip_up(_voc(tmp_path / "d", names), tmp_path / "a.zip"), tmp_path)
    assert (report["ok"], report["names"]) == (True, classes)
    assert report["statistics"]["boxes"] == 2 * len(classes)
    assert report["statistics"]["ignored_boxes"] == 2 * (len(names) > len(classes))  # at one place: one region


def test_ignored_regions_that_yolo_labels_make_a_class_are_warned_of(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d", "train: images/train\nval: images/val\nnames: [car, ignored regions]\n")
    warnings = the_same_everywhere(zip_up(root, tmp_path / "a.zip"), tmp_path)["warnings"]
    assert any("are trained like any other: ignored regions; remove" in warning for warning in warnings)


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("layout", ["coco", "voc"])
def test_fractions_are_no_px(tmp_path: Path, layout: str, lenient: bool) -> None:
    if layout == "coco":
        boxes = [(1, [0.1, 0.2, 0.3, 0.25]), (1, [0, 0, 1, 1])]
        coco(tmp_path / "d", [(1, "car", None)], {"train": boxes, "val": boxes})
    else:
        _voc(tmp_path / "d", ["car"], ".1 .2 .4 .45")
    (problem,) = the_same_everywhere(zip_up(tmp_path / "d", tmp_path / "a.zip"), tmp_path, Reading(lenient))["problems"]
    assert "expected boxes in px, got fractions of the image" in problem["detail"]


def test_boxes_that_reach_far_beyond_their_image_are_warned_of(tmp_path: Path) -> None:
    corners = [(1, [12, 8, 30, 20])]  # x1, y1, x2, y2
    coco(tmp_path / "d", [(1, "car", None)], {"train": corners, "val": [CAR, (1, [-1, 3, 9, 9])]})
    warnings = the_same_everywhere(zip_up(tmp_path / "d", tmp_path / "a.zip"), tmp_path)["warnings"]
    assert [w.partition(":")[0] for w in warnings if "reach far beyond their image" in w] == ["train"]


def test_what_is_left_out_of_training_is_counted(tmp_path: Path) -> None:
    root = coco(tmp_path / "d", [(1, "car", None)], {"train": [CAR, CAR], "val": [CAR]})
    document = json.loads((root / "train.json").read_text())
    document["annotations"][1]["iscrowd"] = 1
    (root / "train.json").write_text(json.dumps(document))
    warnings = the_same_everywhere(zip_up(root, tmp_path / "a.zip"), tmp_path)["warnings"]
    assert [w.partition(":")[0] for w in warnings if "annotations are crowds" in w] == ["train.json"]


def test_boxes_of_visdrone_without_a_size_are_counted(tmp_path: Path) -> None:
    for split in ("train", "val"):
        make_image(tmp_path / f"d/{split}/images/a.png", seed=len(split))
        (tmp_path / f"d/{split}/annotations").mkdir()
        (tmp_path / f"d/{split}/annotations/a.txt").write_text("4,4,9,9,1,4,0,0\n\n4,4,9,0,1,4,0,0\n")
    report = the_same_everywhere(zip_up(tmp_path / "d", tmp_path / "a.zip"), tmp_path)
    assert report["statistics"]["boxes"] == 2
    assert "skipped 1 VisDrone boxes without any size, such as in train/annotations/a.txt" in report["warnings"]


def _thermal(mark: float, **how: Any) -> Callable[[Path], object]:
    """Return what writes degrees, a third of which is a mark of missing values."""
    degrees = np.linspace(12, 31, 32 * 24, dtype=np.float32).reshape(24, 32)
    degrees[:8] = mark
    return lambda file: Image.fromarray(degrees).save(file, **how)


MARKS: dict[str, Callable[[Path], object]] = {
    "not a number": _thermal(np.nan),
    "infinite": _thermal(-np.inf),
    "by convention": _thermal(-9999),
    "the smallest number": _thermal(float(np.finfo(np.float32).min)),
    "as the file says": _thermal(-77, tiffinfo={42113: "-77"}),
}


@pytest.mark.parametrize("kind", MARKS)
def test_marks_of_missing_values_leave_the_grey_levels_to_the_others(tmp_path: Path, kind: str) -> None:
    root = make_dataset(tmp_path / "d")
    for split in ("train", "val"):
        MARKS[kind](root / f"images/{split}/thermal.tif")
    archive = zip_up(root, tmp_path / "a.zip")
    assert the_same_everywhere(archive, tmp_path)["ok"]
    dataset = open_dataset(archive, tmp_path / "cache")
    assert dataset.scaling is not None
    assert 12 < dataset.scaling.low < dataset.scaling.high < 31.1
    pixels = dataset.read(next(image for image in dataset.images("train") if image.suffix == ".tif"))
    assert not pixels[:8].any()
    assert pixels[8:].std() > 50
