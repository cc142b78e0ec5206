"""Text files, names and paths as other tools and machines write them lead to the same dataset, in every layout."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from rdrkd.data.reading import Reading
from rdrkd.spec.splitting import Split
from tests.rdrkd.data.crafted import YAML, make_dataset, make_image, zip_up
from tests.rdrkd.data.loading import the_same_everywhere

NAMES = "names: [car, person]\n"


def _lists(root: Path) -> str:
    """Write a dataset whose splits are lists of images; return a pattern of its text files."""
    make_dataset(root, f"train: train.txt\nval: val.txt\n{NAMES}")
    for split in ("train", "val"):
        (root / f"{split}.txt").write_text(f"./images/{split}/a.png\n")
    return "*.txt"


def _yolo(root: Path) -> str:
    make_dataset(root)
    return "**/*.*[ty]*"  # labels and the data YAML


def _plain(root: Path) -> str:
    make_dataset(root, yaml=None)
    (root / "classes.txt").write_text("car\nperson\n")
    return "**/*.txt"


def _visdrone(root: Path) -> str:
    for split in ("train", "val"):
        make_image(root / f"VisDrone2019-DET-{split}/images/a.png", seed=len(split))
        (root / f"VisDrone2019-DET-{split}/annotations").mkdir()
        (root / f"VisDrone2019-DET-{split}/annotations/a.txt").write_text("4,4,9,9,1,4,0,0\n")
    return "**/*.txt"


def _voc(root: Path) -> str:
    for name, split in (("a", "train"), ("b", "val")):
        make_image(root / f"JPEGImages/{name}.png", seed=len(split))
        for folder in ("Annotations", "ImageSets/Main"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        box = "<xmin>4</xmin><ymin>4</ymin><xmax>9</xmax><ymax>9</ymax>"
        text = f"<annotation><object><name>car</name><bndbox>{box}</bndbox></object></annotation>"
        (root / f"Annotations/{name}.xml").write_text(text)
        (root / f"ImageSets/Main/{split}.txt").write_text(f"{name}\n")
    return "**/*.txt"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("layout", [_lists, _yolo, _plain, _visdrone, _voc])
def test_text_in_utf_16_is_read(tmp_path: Path, layout: Callable[[Path], str], encoding: str) -> None:
    files = (tmp_path / "d").glob(layout(tmp_path / "d"))
    for file in [file for file in files if file.suffix in (".txt", ".yaml")]:
        file.write_bytes(("\ufeff" + file.read_text().replace("\n", "\r\n")).encode(encoding))
    reading = Reading(split=Split(val=0.5)) if layout is _plain else Reading()
    report = the_same_everywhere(zip_up(tmp_path / "d", tmp_path / "a.zip"), tmp_path, reading)
    assert report["ok"], report["problems"]
    assert report["statistics"]["boxes"] == 2


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("disk", ["NFC", "NFD"])
def test_paths_lead_to_folders_and_images_however_composed(
    tmp_path: Path, disk: str, listed: bool, archived: bool
) -> None:
    written = {"NFC": "NFD", "NFD": "NFC"}[disk]
    root, name, there = tmp_path / "d", *(unicodedata.normalize(form, "Flüge é") for form in (written, disk))
    for split in ("train", "val"):
        make_image(root / f"{there}/images/{split}/{there}.png", seed=len(split))
        (root / f"{there}/labels/{split}").mkdir(parents=True)
        (root / f"{there}/labels/{split}/{there}.txt").write_text("0 .5 .5 .2 .2\n")
        (root / f"{split}.txt").write_text(f"{name}/images/{split}/{name}.png\n")
    places = {split: f"{split}.txt" if listed else f"{name}/images/{split}" for split in ("train", "val")}
    (root / "data.yaml").write_text("".join(f"{split}: {place}\n" for split, place in places.items()) + NAMES)
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip") if archived else root, tmp_path)
    assert report["ok"], report["problems"]
    assert report["statistics"]["boxes"] == 2


@pytest.mark.parametrize("path", ["coco8", "datasets/coco8", "~/set", "../datasets/coco8", "/content/set", "D:\\set"])
@pytest.mark.parametrize("archived", [False, True])
def test_a_path_that_is_not_there_is_that_of_the_yaml(tmp_path: Path, path: str, archived: bool) -> None:
    root = make_dataset(tmp_path / "d", YAML.replace("path: .", f"path: {path}"))
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip", "set") if archived else root, tmp_path)
    assert report["ok"], report["problems"]
    assert any(warning.startswith(f"data.yaml: path: {path!r} is ") for warning in report["warnings"])


def test_a_path_that_is_not_there_is_a_reason_where_the_splits_are_not_either(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d", f"path: elsewhere\ntrain: flights\nval: images/val\n{NAMES}")
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip"), tmp_path)
    assert [problem["where"] for problem in report["problems"]] == ["data.yaml: path", "data.yaml: train"]


def test_images_that_share_a_label_file_are_warned_of(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d")
    make_image(root / "images/train/a.jpg", seed=7)
    warnings = the_same_everywhere(zip_up(root, tmp_path / "a.zip"), tmp_path)["warnings"]
    assert any(w.startswith("train: 1 label files belong to several images, such as a.txt") for w in warnings)


@pytest.mark.parametrize("lenient", [False, True])
def test_a_label_file_named_after_the_whole_image_is_no_missing_one(tmp_path: Path, lenient: bool) -> None:
    root = make_dataset(tmp_path / "d")
    make_image(root / "images/train/b.png", seed=7)
    (root / "labels/train/b.png.txt").write_text("0 .5 .5 .2 .2\n")
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip"), tmp_path, Reading(lenient))
    (fault,) = report["dropped"]["listed"] if lenient else report["problems"]
    assert (report["ok"], fault["detail"]) == (lenient, "expected the label file b.txt, got b.png.txt")
