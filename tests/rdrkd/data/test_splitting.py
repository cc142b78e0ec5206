"""A dataset without a split is divided as its owner says: alike everywhere, in whole groups, and recorded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from rdrkd.data import open_dataset
from rdrkd.data.reading import Reading
from rdrkd.errors import DatasetError
from rdrkd.run.inspection import inspect
from rdrkd.spec.splitting import Split
from tests.rdrkd.data.crafted import make_image, zip_up
from tests.rdrkd.data.loading import load
from tests.rdrkd.data.test_voc import thing, xml

FLIGHTS = [f"flight{flight}_{frame:03}" for flight in range(5) for frame in range(4)]


@given(
    names=st.lists(st.from_regex(r"[a-c]{1,3}_[0-9]{1,3}\.png", fullmatch=True), min_size=4, max_size=60, unique=True),
    val=st.floats(0.05, 0.6),
    test=st.sampled_from([0.0, 0.1, 0.3]),
    seed=st.integers(0, 5),
    prefix=st.sampled_from(["", "_", "1"]),
)
def test_every_image_is_in_one_split_whatever_the_order(
    names: list[str], val: float, test: float, seed: int, prefix: str
) -> None:
    split = Split(val=val, test=test, seed=seed, prefix=prefix)
    whole = {"": set(names), "_": {name.partition("_")[0] for name in names}, "1": {name[0] for name in names}}[prefix]
    assume(len(whole) > 1 + bool(test) and (not prefix or len(whole) < len(names)))
    parts = split.divide(names)
    assert sorted(index for part in parts.values() for index in part) == list(range(len(names)))
    assert all(parts.values())
    chosen = {of: {names[index] for index in part} for of, part in parts.items()}
    assert chosen == {of: {names[::-1][index] for index in part} for of, part in split.divide(names[::-1]).items()}
    if prefix:
        groups = [{name.partition("_")[0] if prefix == "_" else name[0] for name in part} for part in chosen.values()]
        assert sum(map(len, groups)) == len(whole), "no group is in two splits"
    elif len(names) >= 20:
        assert abs(len(parts["val"]) - val * len(names)) <= 1
    assert Split.parse(split.text) == split


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.2", "expected a split such as"), ("val=0", "^val: expected a share above 0, got 0$"), ("val=nan", "finite"),
        ("val=2", "^val: expected a share below 1, got 2$"), ("val=a", "^val: expected a valid number, got 'a'$"),
        ("val=.2,test=-1", "^test: expected a share of at least 0, got -1$"),
        ("val=0.5,test=0.5", "leave images to train on"), ("val=.2,val=.3", "once"), ("seed=3", "val: "), ("", "val: "),
        ("val=0.2,seed=-1", "seed: expected a seed of at least 0, got -1"),
        ("val=0.2,seed=2147483648", "seed: expected a seed of at most 2147483647, got 2147483648"),
        ("val=0.2;prefix=_", "expected a split"), ("val=0.2,prefix=\n", "prefix: "),
        ("val=0.2," + " " * 300, "at most 200 characters"),
    ],
)  # fmt: skip
def test_words_that_mean_nothing_are_refused(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Split.parse(text)


# -- layouts: one folder, no split


def _images(folder: Path) -> list[Path]:
    return [make_image(folder / f"{stem}.png", 48, 40, number) for number, stem in enumerate(FLIGHTS)]


def _label(image: Path) -> None:
    label = image.parent.parent / "labels" / f"{image.stem}.txt"
    label.parent.mkdir(exist_ok=True)
    label.write_text("0 .5 .5 .25 .25\n")


def yolo(root: Path) -> None:
    for image in _images(root / "images"):
        _label(image)
    (root / "data.yaml").write_text("names: [car]\n")


def label_studio(root: Path) -> None:
    yolo(root)
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("car\n")
    (root / "notes.json").write_text('{"categories": [{"id": 0, "name": "car"}], "info": {"year": 2026}}')


def train_alone(root: Path) -> None:
    yolo(root)
    (root / "data.yaml").write_text("train: images\nval:\nnames: [car]\n")


def coco(root: Path) -> None:
    images = _images(root / "pictures")
    document: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "car"}]}
    for number, image in enumerate(images):
        document["images"].append({"id": number, "file_name": image.name, "width": 48, "height": 40})
        document["annotations"].append({"id": number, "image_id": number, "category_id": 1, "bbox": [18, 15, 12, 10]})
    (root / "result.json").write_text(json.dumps(document))


def visdrone(root: Path) -> None:
    (root / "annotations").mkdir(parents=True)
    for image in _images(root / "images"):
        (root / "annotations" / f"{image.stem}.txt").write_text("18,15,12,10,1,4,0,0\n")


def voc(root: Path) -> None:
    for image in _images(root / "all"):
        image.with_suffix(".xml").write_text(xml(image.name, thing()))


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "yolo": yolo, "label_studio": label_studio, "train_alone": train_alone, "coco": coco, "visdrone": visdrone,
    "voc": voc,
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_divided_alike_and_recorded(tmp_path: Path, layout: str) -> None:
    LAYOUTS[layout](tmp_path / "d")
    archive = zip_up(tmp_path / "d", tmp_path / "a.zip", wrapper="wrapped")
    bare = inspect(archive, tmp_path / "cache")
    if layout == "train_alone":
        assert "no val split: the dataset can be evaluated on, but not trained on" in bare["warnings"]
    else:
        assert not bare["ok"]
        assert "prefix=_" in bare["problems"][0]["detail"], "the refusal explains the option"
    split = Split.parse("val=0.2,test=0.2,seed=4,prefix=_")
    report = inspect(archive, tmp_path / "cache", Reading(split=split))
    assert report["ok"], report["problems"]
    assert report["divide"] == split.text
    counted = {of: (found["images"], found["boxes"]) for of, found in report["statistics"]["splits"].items()}
    assert counted == {"train": (12, 12), "val": (4, 4), "test": (4, 4)}
    dataset = open_dataset(archive, tmp_path / "cache", reading=Reading(split=split))
    assert dataset.divide == split.text
    flights = {of: {image.name.partition("_")[0] for image in images} for of, images in dataset.splits.items()}
    assert {of: len(names) for of, names in flights.items()} == {"train": 3, "val": 1, "test": 1}
    assert not (flights["train"] & (flights["val"] | flights["test"]))
    for of, (images, boxes) in counted.items():
        loaded = load(dataset, of, tmp_path / "run")
        assert (len(loaded.im_files), sum(len(label["cls"]) for label in loaded.labels)) == (images, boxes)


def test_other_words_are_another_folder_and_a_split_of_its_own_is_kept(tmp_path: Path) -> None:
    coco(tmp_path / "d")
    archive = zip_up(tmp_path / "d", tmp_path / "a.zip")
    splits = [Split(val=0.25, seed=seed) for seed in (0, 1, 0)]
    opened = [open_dataset(archive, tmp_path / "cache", reading=Reading(split=split)) for split in splits]
    chosen = [{image.name for image in dataset.images("val")} for dataset in opened]
    assert chosen[0] == chosen[2] != chosen[1]
    assert len(list((tmp_path / "cache").glob("*.split-*"))) >= 2
    for split in ("train", "val"):
        shutil.copytree(tmp_path / "d/pictures", tmp_path / "own" / split)
        shutil.copy(tmp_path / "d/result.json", tmp_path / "own" / f"{split}.json")
    report = inspect(zip_up(tmp_path / "own", tmp_path / "b.zip"), tmp_path / "cache", Reading(split=Split(val=0.2)))
    assert "expected no split (val=0.2) for a dataset that has one of its own" in report["problems"][0]["detail"]


def test_a_folder_of_the_owner_is_never_divided_in_place(tmp_path: Path) -> None:
    yolo(tmp_path / "d")
    report = inspect(tmp_path / "d", reading=Reading(split=Split(val=0.2)))
    assert "expected an archive for --lenient, --keep and --divide" in report["problems"][0]["detail"]
    with pytest.raises(DatasetError, match="never written to"):
        open_dataset(tmp_path / "d", tmp_path / "cache", reading=Reading(split=Split(val=0.2)))


def test_a_prefix_that_no_name_has_is_refused() -> None:
    with pytest.raises(DatasetError, match="expected names that agree up to '#'"):
        Split(val=0.2, prefix="#").divide(FLIGHTS)
    with pytest.raises(DatasetError, match="expected at least 2 groups"):
        Split(val=0.2, prefix="6").divide(FLIGHTS[:4])


def test_images_are_images(tmp_path: Path) -> None:
    """The crafted images can be told apart: a division of equal ones would prove nothing."""
    images = _images(tmp_path)
    assert len({Image.open(image).tobytes() for image in images}) == len(images)
