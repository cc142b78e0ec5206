"""Odd datasets of every kind: what the check counts is what is trained on and evaluated, or it is refused by file."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from rdrkd.data.reading import Reading
from tests.rdrkd.data.crafted import make_dataset, make_image, zip_up
from tests.rdrkd.data.loading import the_same_everywhere

WIDTH, HEIGHT = 32, 24
LINE = "0 .5 .5 .2 .2\n"
Save = Callable[[Path], object]


def plain(mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (WIDTH, HEIGHT))


def nan(file: Path) -> None:
    values = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    values[0] = range(WIDTH)
    Image.fromarray(values).save(file)


PICTURES: dict[str, tuple[str, Save]] = {
    "animated webp": (".webp", lambda f: plain().save(f, save_all=True, append_images=[plain(), plain()])),
    "animated png": (".png", lambda f: plain().save(f, save_all=True, append_images=[plain(), plain()])),
    "pages of two sizes": (
        ".tif",
        lambda f: plain().save(f, save_all=True, append_images=[Image.new("RGB", (64, 48))]),
    ),
    "fax": (".tif", lambda f: plain("1").save(f, compression="group4")),
    "lab": (".tif", lambda f: plain("LAB").save(f)),
    "cmyk": (".jpg", lambda f: plain("CMYK").save(f)),
    "32 bits": (".tif", lambda f: Image.fromarray(np.arange(768, dtype=np.int32).reshape(HEIGHT, WIDTH) * 999).save(f)),
    "16 bits with alpha": (".png", lambda f: cv2.imwrite(str(f), np.full((HEIGHT, WIDTH, 4), 40000, np.uint16))),
    "signed 8 bits": (
        ".tif",
        lambda f: cv2.imwrite(str(f), (np.arange(768) % 256 - 128).astype(np.int8).reshape(24, 32)),
    ),
    "no number": (".tif", nan),
}


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("kind", PICTURES)
def test_odd_pictures(tmp_path: Path, kind: str, lenient: bool) -> None:
    suffix, save = PICTURES[kind]
    root = make_dataset(tmp_path / "d")
    for split in ("train", "val"):
        save(root / f"images/{split}/odd{suffix}")
        (root / f"labels/{split}/odd.txt").write_text(LINE)
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip"), tmp_path, Reading(lenient))
    assert report["ok"], report["problems"]
    assert (report["statistics"]["images"], report["statistics"]["boxes"]) == (4, 4)


def lists(root: Path, encoding: str) -> None:
    (root / "data.yaml").write_text("train: train.txt\nval: [val.txt, images/val]\nnames: [car, person]\n")
    for split in ("train", "val"):
        (root / f"{split}.txt").write_text(f"./images/{split}/a.png\r\n\r\n", encoding=encoding)


def nested(root: Path) -> None:
    for split in ("train", "val"):
        make_image(root / f"images/{split}/images/b.png", seed=len(split))
        (root / f"images/{split}/labels").mkdir()
        (root / f"images/{split}/labels/b.txt").write_text(LINE)
    (root / "data.yaml").write_text("train: images/train/images\nval: images/val/images\nnames: [car]\n")


LAYOUTS: dict[str, tuple[Callable[[Path], object], int]] = {  # boxes; 0 where it is refused
    "lists of windows": (lambda root: lists(root, "utf-8-sig"), 2),
    "lists in utf-16": (lambda root: lists(root, "utf-16"), 2),
    "images in images": (nested, 2),
    "val within train": (
        lambda root: (root / "data.yaml").write_text("train: images\nval: images/val\nnames: [car, person]\n"),
        3,
    ),
    "oriented boxes": (lambda root: _labels(root, "0 .1 .1 .5 .1 .5 .5 .1 .5\n"), 2),
    "a form feed between lines": (lambda root: _labels(root, "0 .5 .5 .2 .2\x0c1 .2 .2 .1 .1\n"), 4),
    "scores": (lambda root: _labels(root, "0 .5 .5 .2 .2 .93\n"), 0),
    "pixels": (lambda root: _labels(root, "0 16 12 8 8\n"), 0),
    "commas": (lambda root: _labels(root, "0,.5,.5,.2,.2\n"), 0),
    "a NUL": (lambda root: _labels(root, "0 .5 .5 .2 .2\0\n"), 0),
    "labels in utf-16": (lambda root: (root / "labels/val/a.txt").write_text(LINE, encoding="utf-16"), 2),
}


def _labels(root: Path, text: str) -> None:
    for split in ("train", "val"):
        (root / f"labels/{split}/a.txt").write_text(text)


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("kind", LAYOUTS)
def test_odd_lists_and_labels(tmp_path: Path, kind: str, archived: bool) -> None:
    change, boxes = LAYOUTS[kind]
    root = make_dataset(tmp_path / "d")
    change(root)
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip") if archived else root, tmp_path)
    assert report["ok"] == bool(boxes), report["problems"]
    if boxes:
        assert report["statistics"]["boxes"] == boxes
    elif archived:
        the_same_everywhere(tmp_path / "a.zip", tmp_path, Reading(lenient=True))
