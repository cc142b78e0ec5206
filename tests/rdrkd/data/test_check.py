import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rdrkd.data import Dataset, open_dataset
from rdrkd.data.check import MOST_PROBLEMS, Findings, check
from rdrkd.data.scenes import write_scenes
from rdrkd.errors import Problem
from tests.rdrkd.data.crafted import make_dataset, make_image


def findings(root: Path) -> Findings:
    return check(open_dataset(root, root.parent / "cache"))


def problems(root: Path) -> dict[str, str]:
    found = findings(root)
    assert found.listed()[1] == 0
    return {problem.where: problem.detail for problem in found.problems}


def test_counts_what_there_is(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d")
    make_image(root / "images/train/b.jpg", 200, 100)
    # 200x100 px: 10x10, 20x20, 40x40 and 120x90 px; a line end as Windows writes it, a blank line, a byte order mark.
    lines = ["0 .5 .5 .05 .1", "1 .5 .5 .1 .2\r", "", "1 .5 .5 .2 .4", "1 .5 .5 .6 .9"]
    (root / "labels/train/b.txt").write_text("\ufeff" + "\n".join(lines))
    make_image(root / "images/train/c.png", 64, 48, seed=5)
    found = findings(root)
    assert found.problems == []
    assert found.statistics["splits"]["train"] == {
        "images": 3,
        "boxes": 5,
        "ignored_boxes": 0,
        "per_class": {"car": 2, "person": 3},
        "empty_images": 1,
        "boxes_per_image": {"mean": 1.67, "max": 4},
        "image_width": {"min": 32, "max": 200},
        "image_height": {"min": 24, "max": 100},
        "size_bins": {"tiny": 2, "small": 1, "medium": 1, "large": 1},
        "coco_bins": {"small": 3, "medium": 1, "large": 1},
        "tiny_bins": {"very_tiny": 0, "tiny": 2, "small": 1, "medium": 1, "larger": 1},
        "size_histogram": {
            "edges": [0, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512],
            "counts": [0, 0, 0, 2, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0],
        },
    }
    assert {key: found.statistics[key] for key in ("images", "boxes", "per_class")} == {
        "images": 4,
        "boxes": 6,
        "per_class": {"car": 3, "person": 3},
    }
    assert found.warnings == [
        "train: 1 of 3 images have no label file and count as images without objects",
        "val: no objects of 1 classes: person",
    ]


def test_a_split_without_labels_is_refused_without_a_warning(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d")
    (root / "labels/train/a.txt").unlink()
    found = findings(root)
    assert [problem.where for problem in found.problems] == ["train"]
    assert found.warnings == ["val: no objects of 1 classes: person"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 0.5 0.5 0.2", "expected 5 numbers (class x y width height), got 4"),
        ("0 0.1 0.1 0.2 0.1 0.2", "expected 5 numbers (class x y width height), got 6"),
        ("0 0.1 0.1 0.2 0.1 0.1 0.1", "expected a polygon with a width and a height above 0, got one without"),
        ("0 0.1 0.1 1.2 0.1 0.1 0.2", "expected points as shares of the image from 0 to 1, got 1.2"),
        ("car 0.5 0.5 0.2 0.2", "expected 5 numbers, got 'car 0.5 0.5 0.2 0.2'"),
        ("2 0.5 0.5 0.2 0.2", "expected a class number from 0 to 1, got 2"),
        ("-1 0.5 0.5 0.2 0.2", "expected a class number from 0 to 1, got -1"),
        ("0.5 0.5 0.5 0.2 0.2", "expected a class number from 0 to 1, got 0.5"),
        ("nan 0.5 0.5 0.2 0.2", "expected a class number from 0 to 1, got nan"),
        ("inf 0.5 0.5 0.2 0.2", "expected a class number from 0 to 1, got inf"),
        ("0 nan 0.5 0.2 0.2", "expected x as a share of the image from 0 to 1, got nan"),
        ("0 0.5 120 0.2 0.2", "expected y as a share of the image from 0 to 1, got 120"),
        ("0 0.5 -0.2 0.2 0.2", "expected y as a share of the image from 0 to 1, got -0.2"),
        ("0 0.5 0.5 1e300 0.2", "expected width as a share of the image from 0 to 1, got 1e300"),
        ("0 0.5 0.5 0 0.2", "expected a width above 0, got 0"),
        ("0 0.5 0.5 0.2 -0.001", "expected a height above 0, got -0.001"),
    ],
)
def test_names_the_label_line_at_fault(tmp_path: Path, line: str, expected: str) -> None:
    root = make_dataset(tmp_path / "d", label="0 0.5 0.5 0.2 0.2\n")
    (root / "labels/val/a.txt").write_text(f"0 0.5 0.5 0.2 0.2\n{line}\n1 0.005 1.005 0.01 1.0\n")
    assert problems(root) == {"labels/val/a.txt:2": expected}


def test_equal_problems_are_one_with_a_count_and_the_first_places(tmp_path: Path) -> None:
    found = findings(make_dataset(tmp_path / "d", label="7 0.5 0.5 0.2 0.2\n" * 80))
    (problem,) = found.problems
    assert problem.where == "labels/train/a.txt:1"
    assert problem.detail.endswith("(160 times: labels/train/a.txt:1, labels/train/a.txt:2, labels/train/a.txt:3, ...)")
    assert found.listed()[1] == 0


@pytest.mark.parametrize(("kinds", "each"), [(1, 3), (1, 4), (40, 3), (40, 4), (130, 1), (130, 9)])
def test_no_problem_is_lost_from_the_count(kinds: int, each: int) -> None:
    found = Findings()
    words = [str(kind).translate({48 + digit: 97 + digit for digit in range(10)}) for kind in range(kinds)]
    found.add(Problem(f"{kind}:{number}", f"detail {kind}") for number in range(each) for kind in words)
    problems, more = found.listed()
    shown = sum(each if f"({each} times" in problem.detail else 1 for problem in problems)
    assert len(problems) <= MOST_PROBLEMS
    assert shown + more == kinds * each


def test_says_where_labels_were_expected(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d")
    (root / "labels/val").rename(root / "labels/elsewhere")
    assert problems(root) == {"val": "expected label files such as labels/val/a.txt, got none for 1 images"}


def test_refuses_a_split_without_objects(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d")
    (root / "labels/train/a.txt").write_text("")
    assert problems(root) == {"train": "expected labelled objects, got none in 1 images"}


def test_finds_repeated_lines(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d", label="0 .5 .5 .2 .2\n" * 3 + "1 .5 .5 .2 .2\n")
    assert "val: 2 duplicate label lines were dropped" in findings(root).warnings


def test_finds_labels_without_images(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d")
    (root / "labels/train/b.txt").write_text("")
    assert "train: 1 label files have no image, such as b.txt" in findings(root).warnings


def test_finds_training_images_among_the_others(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d")
    (root / "images/val/copy.png").write_bytes((root / "images/train/a.png").read_bytes())
    assert "val: 1 images are also in train, byte by byte, such as copy.png" in findings(root).warnings


def test_finds_damaged_images(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d")
    images = root / "images" / "train"
    (images / "text.jpg").write_text("no image")
    (images / "empty.png").write_bytes(b"")
    whole = make_image(images / "cut.jpg", 300, 200).read_bytes()
    (images / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    flat = bytearray(make_image(images / "flipped.png", 64, 64).read_bytes())
    flat[len(flat) // 2] ^= 0xFF
    (images / "flipped.png").write_bytes(bytes(flat))
    make_image(images / "small.png", 9, 40)
    Image.new("RGB", (20, 20)).save(images / "other.bmp", format="GIF")
    Image.new("1", (20_000, 10_000)).save(images / "vast.png")
    found = problems(root)
    names = ("text.jpg", "empty.png", "cut.jpg", "flipped.png", "small.png", "other.bmp", "vast.png")
    assert sorted(found) == sorted(f"images/train/{name}" for name in names)
    assert "no known image format" in found["images/train/text.jpg"]
    assert "truncated" in found["images/train/cut.jpg"]
    assert found["images/train/small.png"] == "expected sides of at least 10 px, got 9x40"
    assert "120000000 pixels" in found["images/train/vast.png"]


def test_sizes_follow_the_exif_orientation(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 40)).save(root / "images/train/turned.jpg", exif=exif)
    train = findings(root).statistics["splits"]["train"]
    assert (train["image_width"], train["image_height"]) == ({"min": 32, "max": 40}, {"min": 24, "max": 80})


def test_takes_a_jpeg_with_a_preview(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d")
    preview = Image.new("RGB", (20, 20))
    Image.new("RGB", (60, 40)).save(root / "images/val/a.jpg", format="MPO", save_all=True, append_images=[preview])
    assert problems(root) == {}


@pytest.mark.parametrize("name", ["a.jpeg", "a.PNG", "a.webp", "a.tif", "a.bmp"])
def test_takes_every_format(tmp_path: Path, name: str) -> None:
    root = make_dataset(tmp_path / "d")
    (root / "images/val/a.png").unlink()
    make_image(root / "images/val" / name)
    assert problems(root) == {}


def annotated(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    out = tmp_path / "d"
    write_scenes(out, "demo", {"train": 2, "val": 2}, 96)
    return out, json.loads((out / "annotations/val.json").read_text())


def test_accepts_its_own_scenes(tmp_path: Path) -> None:
    assert problems(annotated(tmp_path)[0]) == {}


@pytest.mark.parametrize(
    ("change", "where", "expected"),
    [
        (lambda c: c["categories"].pop(), ": categories", "expected the dataset's class names"),
        (lambda c: c["categories"][0].update(name="cat"), ": categories", "'cat'"),
        (lambda c: c["images"][0].update(file_name="b.jpg"), ": b.jpg", "expected an image of this name"),
        (lambda c: c["images"].pop(), ": annotations[", "expected the id of one of the images"),
        (lambda c: c["images"][0].update(width=97), ": demo_val_000000.jpg", "expected its size, 96x96 px, got 97x96"),
        (lambda c: c["images"][0].update(height="high"), ": images[0]", "expected `width` and `height`"),
        (lambda c: c["images"][1].update(id=1), ": images[1]", "each image id once"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 0, 4]), ": annotations[0]", "expected a bbox"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, float("nan"), 4]), ": annotations[0]", "expected a bbox"),
        (lambda c: c["annotations"][0].update(bbox="1 2 3 4"), ": annotations[0]", "expected a bbox"),
        (lambda c: c["annotations"][0].update(category_id=9), ": annotations[0]", "one of the categories, got 9"),
        (lambda c: c["annotations"][0].pop("image_id"), ": annotations[0]", "one of the images, got None"),
        (lambda c: c.pop("annotations"), "", "the lists images, categories, annotations"),
        (lambda c: c["images"].append(3), "", "the lists images, categories, annotations"),
    ],
)
def test_names_the_annotation_at_fault(tmp_path: Path, change: Any, where: str, expected: str) -> None:
    out, content = annotated(tmp_path)
    change(content)
    (out / "annotations/val.json").write_text(json.dumps(content))
    found = problems(out)
    assert any(place.startswith(f"annotations/val.json{where}") and expected in d for place, d in found.items()), found


def test_refuses_annotations_that_are_no_json(tmp_path: Path) -> None:
    out, _ = annotated(tmp_path)
    for text in ("{", "[" * 100_000, "\udcff"):
        (out / "annotations/val.json").write_text(text, errors="surrogateescape")
        assert "expected JSON" in problems(out)["annotations/val.json"]


def test_refuses_labels_and_annotations_that_differ(tmp_path: Path) -> None:
    out, content = annotated(tmp_path)
    content["annotations"].pop()
    (out / "annotations/val.json").write_text(json.dumps(content))
    (problem,) = findings(out).problems
    assert "expected the boxes of its label file, got none like" in problem.detail
    assert problem.where.startswith("annotations/val.json: ")


def test_refuses_labels_that_are_no_text(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d")
    (root / "labels/val/a.txt").write_bytes(b"\xff\xfe\x00")
    (root / "labels/train/a.txt").write_bytes(b" " * (5 << 20))
    found = problems(root)
    assert "UTF-8" in found["labels/val/a.txt"]
    assert "at most" in found["labels/train/a.txt"]


def test_reports_nothing_of_the_machine(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d", label="9\n")
    (root / "images/train/a.png").write_text("no image")
    dataset: Dataset = open_dataset(root, tmp_path)
    assert str(tmp_path) not in json.dumps([vars(p) for p in check(dataset).problems])
    assert os.fspath(root) == str(dataset.root)
