"""The lenient mode: what is at fault is left out, told and counted; the rest is a dataset like any other."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rdrkd import bounded_cache
from rdrkd.data import coco, open_dataset
from rdrkd.data.dataset import uploaded_dataset
from rdrkd.data.faults import MOST_LISTED, Faults
from rdrkd.data.lenient import clean
from rdrkd.data.reading import LENIENT, Reading
from rdrkd.data.scenes import write_scenes
from rdrkd.data.yolo import label_path
from rdrkd.errors import DatasetError, Problem
from rdrkd.run.inspection import inspect
from rdrkd.spec.splitting import Split
from tests.rdrkd.data.crafted import make_dataset, make_image, zip_up
from tests.rdrkd.data.test_layouts import small

LINE = "0 0.5 0.5 0.25 0.5\n"


def look(folder: Path, tmp_path: Path) -> dict[str, Any]:
    """Inspect an upload: a strict look refuses it, a lenient one does not."""
    archive = zip_up(folder, tmp_path / "a.zip")
    strict = inspect(archive, tmp_path / "cache")
    assert not strict["ok"]
    assert "dropped" not in strict
    with pytest.raises(DatasetError):  # of a run that opens it strictly, after a strict look that accepted it
        _checked(open_dataset(archive, tmp_path / "cache"))
    shutil.rmtree(tmp_path / "cache")
    report = inspect(archive, tmp_path / "cache", reading=Reading(lenient=True))
    assert (report["ok"], report["problems"], report["lenient"]) == (True, [], True)
    assert [p.name for p in bounded_cache.names(tmp_path / "cache")] == [report["sha256"] + LENIENT]
    assert inspect(archive, tmp_path / "cache", reading=Reading(lenient=True)) == report
    return report


def _checked(dataset: Any) -> None:
    from rdrkd.data.check import check

    check(dataset).refuse_problems()


def opened(tmp_path: Path) -> Any:
    """Open it as a run does on a machine that has not seen it."""
    dataset = open_dataset(tmp_path / "a.zip", tmp_path / "elsewhere", reading=Reading(lenient=True))
    _checked(dataset)
    return dataset


def test_lines_and_images_of_a_yolo_upload(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "d")
    (folder / "labels/train/a.txt").write_text(f"{LINE}7 0.5 0.5 0.2 0.2\n\n{LINE}0 0.5\n")
    for name in ("b", "c", "d"):
        make_image(folder / f"images/train/{name}.png")
        (folder / f"labels/train/{name}.txt").write_text(LINE)
    (folder / "images/train/b.png").write_text("no image")
    (folder / "labels/train/c.txt").write_bytes(b"\xff\xfe\x00")
    report = look(folder, tmp_path)
    assert report["dropped"]["counts"] == {"lines": 2, "images": 3}
    assert {one["where"]: one["detail"][:40] for one in report["dropped"]["listed"]} == {
        "labels/train/a.txt:2": "expected a class number from 0 to 1, got",
        "labels/train/a.txt:5": "expected 5 numbers (class x y width heig",
        "images/train/a.png": "one of its boxes was left out; without i",
        "images/train/b.png": "expected a whole image (BMP, JPEG, PNG, ",
        "labels/train/c.txt": "expected text in UTF-8 or UTF-16, got: '",
    }
    assert "dropped because of errors (lenient mode): 3 images, 2 lines" in report["warnings"]
    dataset = opened(tmp_path)
    assert [p.name for p in dataset.images("train")] == ["d.png"]


def test_an_image_that_loses_a_label_stays_if_asked(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "d")
    (folder / "labels/train/a.txt").write_text(f"{LINE}7 0.5 0.5 0.2 0.2\n\n1 0.5 0.5 0.25 0.5\n0 0.5\n")
    dataset, faults = uploaded_dataset(folder, ""), Faults(lenient=True, keep=True)
    clean(dataset, faults)
    assert faults.notes()["counts"] == {"lines": 2}
    assert label_path(dataset.images("train")[0]).read_text() == f"{LINE}1 0.5 0.5 0.25 0.5\n"


def test_an_image_that_loses_a_label_stays_with_annotations_that_agree(tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "d", "demo", {"train": 2, "val": 2}, 96).parent
    label = min((folder / "labels/val").iterdir())
    first, *others = label.read_text().splitlines()
    label.write_text("\n".join(["99" + first[first.index(" ") :], *others, ""]))
    archive = zip_up(folder, tmp_path / "a.zip")
    dataset = open_dataset(archive, tmp_path / "cache", reading=Reading(lenient=True, keep=True))
    _checked(dataset)
    frames = {frame.file: frame for frame in coco.read(dataset.annotations["val"], dataset.names)}
    assert len(frames[f"{label.stem}.jpg"].boxes) == len(others)
    assert len(dataset.images("val")) == 2


def test_annotations_beside_labels(tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "d", "demo", {"train": 2, "val": 3}, 96).parent
    file = folder / "annotations/val.json"
    content = json.loads(file.read_text())
    names = [image["file_name"] for image in content["images"]]
    content["annotations"][0]["bbox"] = [1, 2, 0, 0]
    content["images"][1]["width"] += 1
    content["images"].append(content["images"][0] | {"id": 99, "file_name": "nobody.jpg"})
    file.write_text(json.dumps(content))
    report = look(folder, tmp_path)
    assert report["dropped"]["counts"] == {"annotations": 3}
    dataset = opened(tmp_path)
    frames = {frame.file: frame for frame in coco.read(dataset.annotations["val"], dataset.names)}
    assert sorted(frames) == sorted(names)  # the one of another size by its labels
    shown = dataset.images("val")[names.index(names[1])]
    assert len(frames[names[1]].boxes) == len(label_path(shown).read_text().splitlines())


@pytest.mark.parametrize("text", ["{", '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "x"}]}'])
def test_an_annotation_file_that_cannot_be_used_goes(tmp_path: Path, text: str) -> None:
    folder = write_scenes(tmp_path / "d", "demo", {"train": 2, "val": 2}, 96).parent
    (folder / "annotations/val.json").write_text(text)
    report = look(folder, tmp_path)
    assert report["dropped"]["counts"] == {"files": 1}
    assert report["dropped"]["listed"][0]["where"].startswith("annotations/val.json")
    assert set(opened(tmp_path).annotations) == {"train"}


def test_entries_of_a_coco_upload(tmp_path: Path) -> None:
    entry = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [4, 4, 8, 8], "iscrowd": 0}
    image = {"id": 1, "file_name": "a.png", "width": 32, "height": 24}
    folder = small(
        tmp_path / "d",
        images=[image, image | {"id": 2, "file_name": "gone.png"}, image | {"id": 3, "file_name": "b.png"}],
        annotations=[entry, entry | {"bbox": [40, 4, 8, 8]}, entry | {"image_id": 3}],
    )
    make_image(folder / "val/b.png", seed=3)
    report = look(folder, tmp_path)
    assert (report["format"], report["dropped"]["counts"]) == ("coco", {"annotations": 1, "images": 2})
    (kept,) = opened(tmp_path).images("val")
    assert kept.name == "b.png"


def test_lines_of_a_visdrone_upload(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    for split in ("train", "val"):
        make_image(folder / split / "images/a.png", 100, 80)
        (folder / split / "annotations").mkdir()
        (folder / split / "annotations/a.txt").write_text("1,2,30,40,1,4,0,0\n1,2\n50,2,10,10,0,0,0,0\n")
        make_image(folder / split / "images/b.png", 100, 80, seed=len(split))
        (folder / split / "annotations/b.txt").write_text("1,2,30,40,1,4,0,0\n50,2,10,10,0,0,0,0\n")
    report = look(folder, tmp_path)
    assert (report["format"], report["dropped"]["counts"]) == ("visdrone", {"lines": 2, "images": 2})
    assert report["statistics"]["ignored_boxes"] == 2
    opened(tmp_path)


def test_nothing_at_fault_is_nothing_left_out(tmp_path: Path) -> None:
    archive = zip_up(make_dataset(tmp_path / "d"), tmp_path / "a.zip")
    report = inspect(archive, tmp_path / "cache", reading=Reading(lenient=True))
    assert report["dropped"] == {"counts": {}, "listed": [], "more": 0}
    strict = inspect(archive, tmp_path / "cache")
    assert {**report, "lenient": False} == strict | {"dropped": report["dropped"]}
    opened = [open_dataset(archive, tmp_path / "cache", reading=Reading(lenient)) for lenient in (False, True)]
    files = [{p.relative_to(d.root): p.read_bytes() for p in d.root.rglob("[!.]*.*")} for d in opened]
    assert files[0] == files[1]


@pytest.mark.parametrize("fault", ["no split", "no objects", "all images", "link"])
def test_what_cannot_be_left_out_is_refused_all_the_same(tmp_path: Path, fault: str) -> None:
    folder = make_dataset(tmp_path / "d")
    match fault:
        case "no split":
            (folder / "data.yaml").write_text("names: [car, person]\n")
        case "no objects":
            (folder / "labels/val/a.txt").write_text("9 .5 .5 .1 .1\n")
        case "all images":
            (folder / "images/val/a.png").write_text("no image")
        case "link":
            (folder / "b.zip").write_text("an archive within")
    report = inspect(zip_up(folder, tmp_path / "a.zip"), tmp_path / "cache", reading=Reading(lenient=True))
    assert not report["ok"]
    assert report["problems"]
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_is_not_listed_is_counted() -> None:
    faults = Faults(lenient=True)
    faults.add("lines", (Problem(f"a.txt:{number}", "x") for number in range(MOST_LISTED + 7)))
    notes = faults.notes()
    assert (len(notes["listed"]), notes["more"], notes["counts"]) == (MOST_LISTED, 7, {"lines": MOST_LISTED + 7})


def _broken(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:60])


@pytest.mark.parametrize("fault", ["image", "line"])
@pytest.mark.parametrize("form", ["folder in folder", "test is val", "two folders"])
def test_an_image_of_two_splits_is_dropped_from_both(tmp_path: Path, form: str, fault: str) -> None:
    places = {
        "folder in folder": "train: images\nval: images/val\n",
        "test is val": "train: images/train\nval: images/val\ntest: images/val\n",
        "two folders": "train: [images/train, images/val]\nval: images/val\n",
    }
    root = make_dataset(tmp_path / "d", yaml=places[form] + "names: [car, person]\n")
    make_image(root / "images/val/b.png", seed=7)
    (root / "labels/val/b.txt").write_text("0 .5 .5 9 9\n" if fault == "line" else "0 .5 .5 .2 .2\n")
    if fault == "image":
        _broken(root / "images/val/b.png")
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache", Reading(lenient=True))
    assert report["ok"], report["problems"]
    assert report["statistics"]["splits"]["val"]["images"] == 1
    assert report["dropped"]["counts"]["images"] == 1


def test_a_label_stays_for_the_other_image_of_its_name(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d")
    make_image(root / "images/train/a.jpg", seed=7)
    _broken(root / "images/train/a.png")
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache", Reading(lenient=True))
    train = report["statistics"]["splits"]["train"]
    assert (report["ok"], train["images"], train["boxes"]) == (True, 1, 1)


@pytest.mark.parametrize("divided", [False, True])
def test_lists_are_written_anew_without_what_was_dropped(tmp_path: Path, divided: bool) -> None:
    root = make_dataset(tmp_path / "d", yaml="train: train.txt\nval: val.txt\nnames: [car, person]\n")
    for number in range(4):
        make_image(root / f"images/train/{number}.png", seed=10 + number)
        (root / f"labels/train/{number}.txt").write_text("0 .5 .5 .2 .2\n")
    _broken(root / "images/train/2.png")
    for split in ("train", "val"):
        names = sorted(p.name for p in (root / "images" / split).iterdir())
        (root / f"{split}.txt").write_text("".join(f"./images/{split}/{name}\n" for name in names))
    if divided:
        (root / "data.yaml").write_text("train: train.txt\nnames: [car, person]\n")
    reading = Reading(lenient=True, split=Split(val=0.4) if divided else None)
    archive = zip_up(root, tmp_path / "a.zip")
    for cache in ("here", "here", "elsewhere"):  # also when it is opened again
        report = inspect(archive, tmp_path / cache, reading)
        assert report["ok"], report["problems"]
        assert report["dropped"]["counts"] == {"images": 1}
    assert report["statistics"]["images"] == (4 if divided else 5)
