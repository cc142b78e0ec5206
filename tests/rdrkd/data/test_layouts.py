"""Uploads in other layouts than YOLO's become the same training data as converted by hand."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rdrkd.data import coco, open_dataset, visdrone
from rdrkd.data.dataset import Dataset
from rdrkd.data.scenes import write_scenes
from rdrkd.data.yolo import label_path
from rdrkd.run.inspection import inspect
from tests.rdrkd.data.crafted import make_image, zip_up
from tests.rdrkd.data.test_tars import make_tar
from tests.shared import find, need

SPLITS = {"train": 5, "val": 3}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes with ignored regions, in all three layouts at once."""
    out = tmp_path_factory.mktemp("scenes") / "d"
    return write_scenes(out, "visdrone", SPLITS, 320).parent


def content(dataset: Dataset) -> dict[str, Any]:
    """Return what a run reads: the images' bytes and labels by split and name, and the evaluation's ground truth."""
    images = {
        (split, image.name): (image.read_bytes(), label_path(image).read_text())
        for split in dataset.splits
        for image in dataset.images(split)
    }
    truth = {
        split: {frame.file: sorted(map(repr, frame.boxes)) for frame in coco.read(file, dataset.names)}
        for split, file in dataset.annotations.items()
    }
    return {"names": dataset.names, "images": images, "truth": truth}


def as_coco(scenes: Path, out: Path, style: str) -> Path:
    """Lay the scenes out as COCO's archives, or Roboflow's, have it."""
    for split in SPLITS:
        folder = out / {"coco": f"{split}2017", "roboflow": {"val": "valid"}.get(split, split)}[style]
        shutil.copytree(scenes / "images" / split, folder)
        name = {"coco": f"annotations/instances_{split}2017.json", "roboflow": f"{folder.name}/_annotations.coco.json"}
        (out / "annotations").mkdir(exist_ok=True)
        shutil.copy(scenes / "annotations" / f"{split}.json", out / name[style])
    return out


def as_visdrone(scenes: Path, out: Path, style: str) -> Path:
    """Lay the scenes out as VisDrone's archives have it, or with the splits inside."""
    for split in SPLITS:
        images, annotations = {
            "visdrone": (f"VisDrone2019-DET-{split}/images", f"VisDrone2019-DET-{split}/annotations"),
            "inside": (f"images/{split}", f"annotations/{split}"),
        }[style]
        shutil.copytree(scenes / "images" / split, out / images)
        shutil.copytree(scenes / "visdrone" / split, out / annotations)
    return out


@pytest.mark.parametrize("pack", [zip_up, "tar"])
@pytest.mark.parametrize(
    ("lay", "style", "form"),
    [
        (as_coco, "coco", "coco"),
        (as_coco, "roboflow", "coco"),
        (as_visdrone, "visdrone", "visdrone"),
        (as_visdrone, "inside", "visdrone"),
    ],
)
def test_every_layout_gives_the_same_data(
    scenes: Path, tmp_path: Path, lay: Any, style: str, form: str, pack: Any
) -> None:
    folder = lay(scenes, tmp_path / "made", style)
    if pack == "tar":
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        archive = make_tar(tmp_path / "a.tar.gz", [(f"w/{p.relative_to(folder)}", p.read_bytes()) for p in files])
    else:
        archive = zip_up(folder, tmp_path / "a.zip", "wrapped")
    report = inspect(archive, tmp_path / "cache")
    assert (report["ok"], report["format"], report["problems"]) == (True, form, [])
    assert report["statistics"]["ignored_boxes"] > 0
    by_hand = open_dataset(scenes, tmp_path)
    here, elsewhere = (open_dataset(archive, tmp_path / cache) for cache in ("cache", "another machine's"))
    assert content(here) == content(elsewhere)
    if form == "coco":
        assert content(here) == content(by_hand)
    else:  # whole pixels
        sources = {split: visdrone.Source(scenes / "images" / split, scenes / "visdrone" / split) for split in SPLITS}
        converted = visdrone.convert(sources, tmp_path / "by hand").parent
        assert content(here) == content(open_dataset(converted, tmp_path))
    assert inspect(archive, tmp_path / "cache") == report


def test_real_coco_annotations_give_the_labels_that_came_with_them(tmp_path: Path) -> None:
    with zipfile.ZipFile(need("data/hit_uav_tiny.zip")) as opened:
        opened.extractall(tmp_path)
    folder = tmp_path / "hit_uav_tiny"
    labels = shutil.move(folder / "labels", tmp_path / "labels")
    (folder / "data.yaml").unlink()
    dataset = open_dataset(zip_up(folder, tmp_path / "a.zip"), tmp_path / "cache")
    assert [len(dataset.images(split)) for split in ("train", "val")] == [48, 16]
    for split in dataset.splits:
        before = {frame.file: frame for frame in coco.read(folder / "annotations" / f"{split}.json", dataset.names)}
        after = {frame.file: frame for frame in coco.read(dataset.annotations[split], dataset.names)}
        assert after == before  # crowds with them
        for image in dataset.images(split):
            wanted = (Path(labels) / split / image.name).with_suffix(".txt").read_text().splitlines()
            came = label_path(image).read_text().splitlines()
            assert len(came) == len(wanted)
            for one, other in zip(sorted(came), sorted(wanted), strict=True):
                assert [float(v) for v in one.split()] == pytest.approx([float(v) for v in other.split()], abs=2e-5)


def test_real_visdrone_images_in_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(need("data/visdrone_sample3.zip")) as opened:
        opened.extractall(tmp_path)
    sample = tmp_path / "visdrone_sample3"
    parts = {split: shutil.copytree(sample, tmp_path / "d" / f"VisDrone2019-DET-{split}") for split in ("train", "val")}
    report = inspect(zip_up(tmp_path / "d", tmp_path / "a.zip"), tmp_path / "cache")
    assert (report["ok"], report["format"]) == (True, "visdrone")
    by_hand = visdrone.convert(
        {split: visdrone.Source(p / "images", p / "annotations") for split, p in parts.items()}, tmp_path / "by hand"
    )
    here = open_dataset(tmp_path / "a.zip", tmp_path / "cache")
    assert content(here) == content(open_dataset(by_hand, tmp_path))
    alone = inspect(zip_up(sample, tmp_path / "b.zip", "sample"))
    assert alone["problems"][0]["detail"].startswith("expected a VisDrone folder of annotations of train, val or test")


def test_a_real_coco_archive_without_splits_is_told_what_it_lacks(tmp_path: Path) -> None:
    with zipfile.ZipFile(need("data/coco4_json_yolo.zip")) as opened:
        opened.extractall(tmp_path)
    report = inspect(zip_up(tmp_path / "coco4_json_yolo/coco_dataset", tmp_path / "a.zip"))
    (problem,) = report["problems"]
    expected = "expected a COCO JSON of train, val or test, whose name or folder says so, got ann_file.json; say how to"
    assert (problem["where"], problem["detail"][: len(expected)]) == ("a.zip", expected)


def test_real_coco_annotations_keep_their_areas(tmp_path: Path) -> None:
    if find("data/coco4_json_yolo.zip") is None:
        pytest.skip("needs real COCO annotations")
    with zipfile.ZipFile(need("data/coco4_json_yolo.zip")) as opened:
        opened.extractall(tmp_path)
    made, source = tmp_path / "made", tmp_path / "coco4_json_yolo/coco_dataset"
    (made / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (made / split).mkdir()
        for image in source.glob("*.jpg"):
            shutil.copy(image, made / split)
        shutil.copy(source / "ann_file.json", made / f"annotations/instances_{split}2017.json")
    dataset = open_dataset(zip_up(made, tmp_path / "a.zip"), tmp_path / "cache")
    before, after = (json.loads(p.read_text()) for p in (source / "ann_file.json", dataset.annotations["val"]))
    assert len(dataset.names) == 80

    def measured(document: Any) -> list[Any]:
        return sorted((a["bbox"], a["area"], a["iscrowd"]) for a in document["annotations"])

    assert measured(after) == measured(before)
    report = inspect(tmp_path / "a.zip", tmp_path / "cache")
    assert report["ok"]
    assert "val: 4 images are also in train, byte by byte" in "".join(report["warnings"])


def small(folder: Path, **changes: Any) -> Path:
    """A COCO upload of one image in each split; `changes` are entries of the validation file."""
    for seed, split in enumerate(("train", "val")):
        make_image(folder / split / "a.png", seed=seed)
        document: dict[str, Any] = {
            "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}],
            "categories": [{"id": 7, "name": "person"}, {"id": 3, "name": "car"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [4, 4, 8, 8], "iscrowd": 0}],
        }
        if split == "val":
            document |= changes
        (folder / f"{split}.json").write_text(json.dumps(document))
    return folder


def told(folder: Path, tmp_path: Path) -> dict[str, str]:
    report = inspect(zip_up(folder, tmp_path / "a.zip"), tmp_path / "cache")
    assert not report["ok"]
    assert list((tmp_path / "cache").iterdir()) == []
    return {problem["where"]: problem["detail"] for problem in report["problems"]}


def test_classes_are_numbered_by_the_ids_of_their_categories(tmp_path: Path) -> None:
    dataset = open_dataset(zip_up(small(tmp_path / "d"), tmp_path / "a.zip"), tmp_path / "cache")
    assert dataset.names == ("car", "person")
    assert (dataset.root / "labels/train/a.txt").read_text().startswith("1 0.25000000 0.33333333")


def test_what_is_wrong_with_coco_is_told_entry_by_entry(tmp_path: Path) -> None:
    entry = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [4, 4, 8, 8], "iscrowd": 0}
    folder = small(
        tmp_path / "d",
        images=[
            {"id": 1, "file_name": "a.png", "width": 32, "height": 24},
            {"id": 2, "file_name": "gone.png", "width": 32, "height": 24},
            {"id": 3, "file_name": "a.png", "width": 24, "height": 32},
            {"id": "x"},
        ],
        annotations=[entry, entry | {"image_id": 9}, entry | {"bbox": [40, 4, 8, 8]}, entry | {"category_id": 1}],
    )
    found = told(folder, tmp_path)
    assert found == {
        "val.json: images[3]": "expected an integer `id` and a text `file_name`, got ['x', None]",
        "val.json: annotations[1]": "expected the id of one of the images, got 9",
        "val.json: annotations[2]": (
            "expected a box with its centre in the image of 32x24 px, and no larger, got 40, 4, 8, 8"
        ),
        "val.json: annotations[3]": "expected the id of one of the categories, got 1",
        "val.json: gone.png": "expected an image of this name, got none",
        "val.json: a.png": "expected one entry for an image, got 2",
    }


def test_an_image_is_never_taken_from_another_split(tmp_path: Path) -> None:
    folder = small(tmp_path / "d")
    (folder / "val/a.png").unlink()
    assert told(folder, tmp_path) == {"val.json: a.png": "expected an image of this name, got none"}


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    names = ["x/a.png", "y/a.png"]
    images = [{"id": n, "file_name": name, "width": 32, "height": 24} for n, name in enumerate(names, 1)]
    folder = small(tmp_path / "d", images=images)
    for seed, name in enumerate(names):
        make_image(folder / "val" / name, seed=10 + seed)
    (folder / "val/a.png").unlink()
    dataset = open_dataset(zip_up(folder, tmp_path / "a.zip"), tmp_path / "cache")
    first, second = dataset.images("val")
    assert [first.name, second.name] == ["a.png", "val_y_a.png"]
    assert [first.read_bytes(), second.read_bytes()] == [(folder / "val" / name).read_bytes() for name in names]
    assert [label_path(p).read_text()[:1] for p in (first, second)] == ["1", ""]


@pytest.mark.parametrize(
    ("changes", "where", "detail"),
    [
        ({"categories": [{"id": 1, "name": "car"}]}, "val.json: categories", "class names"),
        ({"annotations": {}}, "val.json", "COCO JSON with the lists"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, changes: Any, where: str, detail: str) -> None:
    assert detail in told(small(tmp_path / "d", **changes), tmp_path)[where]


@pytest.mark.parametrize("categories", [[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], [{"id": 1, "name": ""}], []])
def test_categories_that_are_no_classes_are_refused(tmp_path: Path, categories: Any) -> None:
    folder = small(tmp_path / "d", categories=categories, annotations=[])
    (folder / "train.json").write_text((folder / "val.json").read_text())
    assert list(told(folder, tmp_path)) == ["train.json: categories"]


def test_two_files_of_one_split_are_refused(tmp_path: Path) -> None:
    folder = small(tmp_path / "d")
    shutil.copy(folder / "val.json", folder / "validation.json")
    assert "expected only a COCO JSON of val, got 2: val.json, validation.json" in str(told(folder, tmp_path))
    shutil.copy(folder / "val.json", folder / "instances_val.json")
    (folder / "val.json").unlink()
    assert open_dataset(zip_up(folder, tmp_path / "b.zip"), tmp_path / "cache")  # captions and the like lie beside


def test_what_is_wrong_with_visdrone_is_told_line_by_line(tmp_path: Path) -> None:
    for split in ("train", "val"):
        make_image(tmp_path / f"d/{split}/images/a.png", 100, 80)
        (tmp_path / f"d/{split}/annotations").mkdir()
        (tmp_path / f"d/{split}/annotations/a.txt").write_text("1,2,30,40,1,4,0,0\n")
    folder = tmp_path / "d"
    (folder / "val/annotations/a.txt").write_text("1,2,30,40,1,4,0,0\n1,2\n150,2,30,40,1,4,0,0\n1,2,3,4,1,12,0,0\n")
    make_image(folder / "val/images/b.png")
    (folder / "val/images/c.jpg").write_text("no image")
    (folder / "val/annotations/c.txt").write_text("1,2,30,40,1,4,0,0\n")
    found = told(folder, tmp_path)
    assert set(found) == {
        *(f"val/annotations/a.txt:{number}" for number in (2, 3, 4)),
        "val/images/b.png",
        "val/images/c.jpg",
    }
    assert "centre in the image" in found["val/annotations/a.txt:3"]
    assert "expected its annotations at val/annotations/b.txt" in found["val/images/b.png"]


def test_an_image_that_breaks_off_is_named_as_it_came(tmp_path: Path) -> None:
    folder = small(tmp_path / "d")
    Image.effect_noise((200, 200), 50).save(folder / "val/a.png")
    whole = (folder / "val/a.png").read_bytes()
    (folder / "val/a.png").write_bytes(whole[: len(whole) // 2])
    document = json.loads((folder / "val.json").read_text())
    document["images"][0] |= {"width": 200, "height": 200}
    (folder / "val.json").write_text(json.dumps(document))
    assert list(told(folder, tmp_path)) == ["val/a.png"]


def test_a_data_yaml_decides(scenes: Path, tmp_path: Path) -> None:
    assert inspect(zip_up(scenes, tmp_path / "a.zip"))["format"] == "yolo"


def test_nothing_that_is_known_is_said_with_what_would_be(tmp_path: Path) -> None:
    make_image(tmp_path / "d/a.png")
    (detail,) = told(tmp_path / "d", tmp_path).values()
    assert detail.startswith("expected a data.yaml with `train`, `val` and `names` (YOLO), COCO JSON")
    assert detail.endswith("got 1 .png")
