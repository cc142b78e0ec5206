"""What was checked is what is trained on and evaluated, whatever the files are like."""

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rdrkd.cli.packing import packed
from rdrkd.data import coco, open_dataset
from rdrkd.data.check import check, examine
from rdrkd.data.reading import Reading
from rdrkd.errors import DatasetError
from rdrkd.run.inspection import inspect
from rdrkd.spec.splitting import Split
from tests.rdrkd.data.crafted import make_dataset, zip_up
from tests.rdrkd.data.loading import load, truth
from tests.shared import find

LABELS = "0 .25 .25 .25 .25\n1 .6 .6 .25 .3\n"
WIDTH, HEIGHT = 48, 40


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Read every file below a folder, and when it was last written."""
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.rglob("*")) if p.is_file()}


def picture(deep: bool = False) -> Any:
    grey = (np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) * 13 % 251).astype(np.uint8)
    return grey.astype(np.uint16) + 7000 if deep else grey


def trailing(file: Path) -> None:
    Image.fromarray(picture()).save(file)
    file.write_bytes(file.read_bytes() + b"\0" * 40)


def turned(file: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture()).convert("RGB").save(file, exif=exif)


def turned_tiff(file: Path) -> None:
    Image.fromarray(picture()).convert("RGB").save(file, tiffinfo={274: 8})


def bad_chunk(file: Path) -> None:
    """Write a PNG with a wrong checksum behind its pixels: every viewer shows it, Pillow's `verify` refuses it."""
    Image.fromarray(picture()).save(file)
    whole = file.read_bytes()
    file.write_bytes(whole[:-12] + b"\0\0\0\4tEXta\0bc\xff\xff\xff\xff" + whole[-12:])
    with pytest.raises(SyntaxError), Image.open(file) as image:
        image.verify()


def float_tiff(file: Path) -> None:
    Image.fromarray(picture().astype(np.float32) / 7 - 20).save(file)


KINDS: dict[str, Callable[[Path], object]] = {
    "plain.png": lambda file: Image.fromarray(picture()).save(file),
    "grey.jpg": lambda file: Image.fromarray(picture()).save(file),
    "palette.png": lambda file: Image.fromarray(picture()).convert("P").save(file),
    "alpha.png": lambda file: Image.fromarray(picture()).convert("RGBA").save(file),
    "grey_alpha.png": lambda file: Image.fromarray(picture()).convert("LA").save(file),
    "bits.png": lambda file: Image.fromarray(picture()).convert("1").save(file),
    "cmyk.jpg": lambda file: Image.fromarray(picture()).convert("CMYK").save(file),
    "deep.png": lambda file: Image.fromarray(picture(deep=True)).save(file),
    "deep.tif": lambda file: Image.fromarray(picture(deep=True)).save(file),
    "deep_colour.png": lambda file: cv2.imwrite(str(file), np.stack([picture(deep=True)] * 3, -1)),
    "float.tif": float_tiff,
    "zstd.tiff": lambda file: Image.fromarray(picture()).convert("RGB").save(file, compression="zstd"),
    "lzw.tif": lambda file: Image.fromarray(picture()).save(file, compression="tiff_lzw"),
    "turned.jpg": turned,
    "turned.tif": turned_tiff,
    "trailing.jpg": trailing,
    "chunk.png": bad_chunk,
    "named_as_another.bmp": lambda file: Image.fromarray(picture()).save(file, "PNG"),
    "picture.webp": lambda file: Image.fromarray(picture()).save(file),
    "cafe\u0301.png": lambda file: Image.fromarray(picture()).save(file),
}


@pytest.mark.parametrize("name", KINDS)
def test_odd_but_sound_images_are_loaded_as_they_were_checked(tmp_path: Path, name: str) -> None:
    root = make_dataset(tmp_path / "own", label=LABELS)
    for split in ("train", "val"):
        KINDS[name](root / "images" / split / name)
        (root / "labels" / split / name).with_suffix(".txt").write_text(LABELS)
        (root / "images" / split / "a.npy").write_bytes(b"no image")
        (root / "images" / split / "other.jp2").write_bytes(b"no image")
    before = tree(root)
    dataset = open_dataset(root, tmp_path / "cache")
    findings = check(dataset)
    assert findings.problems == []
    assert "train: 2 files beside the images are not read (.jp2, .npy), such as a.npy" in findings.warnings
    for split in dataset.splits:
        images = load(dataset, split, tmp_path / "run")
        examined = {str(one.image): one for one in examine(dataset, split)}
        assert sorted(images.im_files) == sorted(examined), "image by image"
        for index, label in enumerate(images.labels):
            one = examined[label["im_file"]]
            pixels, original, _ = images.load_image(index)
            assert one.size is not None
            assert original == one.size[::-1] == label["shape"]
            assert len(label["cls"]) == len(one.boxes)
            assert pixels.dtype == np.uint8
            assert pixels.std() > 5, "not flat"
            assert np.array_equal(images.load_image(index)[0], pixels)
    assert tree(root) == before, "nothing of the owner's is written to"
    assert sorted(p.name for p in root.rglob("*") if p.is_file()) == sorted(Path(p).name for p in before)


@pytest.mark.parametrize("rect", [False, True])
def test_disk_caches_lie_in_the_runs_folder_and_give_the_same_images(tmp_path: Path, rect: bool) -> None:
    root = make_dataset(tmp_path / "own", label=LABELS)
    before = tree(root)
    dataset = open_dataset(root, tmp_path / "cache")
    plain, cached = (load(dataset, "train", tmp_path / "run", rect, cache=how) for how in (False, "disk"))
    assert [p.parent for p in cached.npy_files] == [tmp_path / "run/decoded/data.train"]
    assert all(p.is_file() for p in cached.npy_files)
    assert np.array_equal(plain.load_image(0)[0], cached.load_image(0)[0])
    assert tree(root) == before


def test_a_file_that_changes_after_the_check_is_named(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "own", label=LABELS)
    dataset = open_dataset(root, tmp_path / "cache")
    (root / "labels/train/a.txt").write_text("7 .5 .5 .1 .1\n")
    with pytest.raises(DatasetError, match=r"a\.png: the file is no longer what was checked: expected a class number"):
        load(dataset, "train", tmp_path / "run")


# -- COCO JSON: forms of the same values


INTEGERS = st.sampled_from([lambda v: v, float, str, lambda v: f" {v} ", lambda v: f"{v}.0"])
FLAGS = st.sampled_from([lambda v: v, bool, str, float, lambda v: None if v == 0 else 1])
AREAS: dict[str, tuple[Any, bool]] = {  # what is written, and whether the box's area counts instead
    "list": ([1, 2], True),
    "null": (None, True),
    "zero": (0, True),
    "another thing's": (327_680, True),
    "text": ("30.5", False),
    "mask": (30.5, False),
    "not a number": ("x", True),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    boxes=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20), st.integers(0, 1)), min_size=1, max_size=5),
)
def test_values_mean_the_same_in_every_form(tmp_path: Path, data: Any, boxes: list[tuple[int, int, int]]) -> None:
    def form(value: int, forms: Any = INTEGERS) -> Any:
        return data.draw(forms)(value)

    document = {
        "images": [{"id": form(5), "file_name": "a.png", "width": form(WIDTH), "height": form(HEIGHT)}],
        "categories": [{"id": form(3), "name": " car"}, {"id": form(9), "name": 2}],
        "annotations": [
            {
                "image_id": form(5),
                "category_id": form((3, 9)[label]),
                "bbox": [place, 4, 12, 10],
                "iscrowd": form(crowd, FLAGS),
                "area": AREAS[data.draw(st.sampled_from(sorted(AREAS)))][0],
            }
            for label, place, crowd in boxes
        ],
    }
    file = tmp_path / "val.json"
    file.write_text(json.dumps(document))
    (frame,) = coco.read(file, ("car", "2"))
    # The slow reference: what was meant, before it was given a form.
    assert sorted((b.label, b.x, int(b.ignored)) for b in frame.boxes if b.label is not None) == sorted(
        (label, float(place), crowd) for label, place, crowd in boxes if not _is_region(boxes, place, crowd)
    )


def _is_region(boxes: list[tuple[int, int, int]], place: int, crowd: int) -> bool:
    """Tell a crowd of both classes at one place, which the reader joins."""
    return bool(crowd) and {label for label, x, is_crowd in boxes if x == place and is_crowd} == {0, 1}


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("kind", AREAS)
@pytest.mark.parametrize("layout", ["coco", "beside"])
def test_an_area_that_cannot_be_is_that_of_the_box(tmp_path: Path, kind: str, layout: str, split: str) -> None:
    area, falls_back = AREAS[kind]
    root = _annotated(tmp_path / "d", layout, {split: {"area": area}})
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache")
    assert report["ok"], report["problems"]
    told = [w for w in report["warnings"] if "the `area` of 1 annotations" in w]
    assert bool(told) == falls_back
    dataset = open_dataset(tmp_path / "a.zip", tmp_path / "cache")
    assert [a["area"] for a in truth(dataset, split)["annotations"]] == [120.0 if falls_back else 30.5]


@pytest.mark.parametrize("value", ["yes", 2, [0], {}, "0.5"])
@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_crowd_flag_in_doubt_is_a_fault_and_no_guess(tmp_path: Path, value: Any, lenient: bool, split: str) -> None:
    root = _annotated(tmp_path / "d", "coco", {split: {"iscrowd": value}}, images=2)
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache", Reading(lenient))
    named = report["dropped"]["listed"] if lenient else report["problems"]
    assert report["ok"] == lenient
    assert named[0]["where"] == f"{split}.json: annotations[0]"
    assert "expected 0 or 1 as `iscrowd`" in named[0]["detail"]
    if lenient:
        assert report["dropped"]["counts"] == {"annotations": 1, "images": 1}
        assert report["statistics"]["splits"][split]["images"] == 1


def test_reasons_are_kept_where_nothing_remains(tmp_path: Path) -> None:
    root = _annotated(tmp_path / "d", "coco", {"train": {"iscrowd": "x"}, "val": {}})
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache", reading=Reading(lenient=True))
    assert not report["ok"]
    assert "train.json: annotations[0]" in [problem["where"] for problem in report["problems"]]


# -- names


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stem=st.text(st.characters(categories=("Ll", "Lu", "Lo", "Mn", "Nd")), min_size=1, max_size=8),
    forms=st.tuples(st.sampled_from(["NFC", "NFD"]), st.sampled_from(["NFC", "NFD"])),
    prefix=st.sampled_from(["", "val/", "C:\\pictures\\", "./"]),
)
def test_names_match_however_they_are_composed(tmp_path: Path, stem: str, forms: tuple[Any, Any], prefix: str) -> None:
    shutil.rmtree(tmp_path / "d", ignore_errors=True)
    on_disk, written = (unicodedata.normalize(form, stem) + ".png" for form in forms)
    root = _annotated(tmp_path / "d", "beside", {"val": {}})
    (root / "images/val/0.png").rename(root / "images/val" / on_disk)
    (root / "labels/val/0.txt").rename((root / "labels/val" / on_disk).with_suffix(".txt"))
    document = json.loads((root / "annotations/val.json").read_text())
    document["images"][0]["file_name"] = prefix + written
    (root / "annotations/val.json").write_text(json.dumps(document))
    dataset = open_dataset(root, tmp_path / "cache")
    assert check(dataset).problems == []
    assert len(truth(dataset, "val")["annotations"]) == 1


@pytest.mark.parametrize("lenient", [False, True])
def test_a_name_that_means_two_images_is_refused_at_the_check(tmp_path: Path, lenient: bool) -> None:
    root = _annotated(tmp_path / "d", "beside", {"val": {}})
    for camera in ("cam1", "cam2"):
        for what, suffix in (("images", "png"), ("labels", "txt")):
            (root / what / "val" / camera).mkdir()
            shutil.copy(root / what / f"val/0.{suffix}", root / what / "val" / camera / f"0.{suffix}")
    for what, suffix in (("images", "png"), ("labels", "txt")):
        (root / what / f"val/0.{suffix}").unlink()
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache", Reading(lenient))
    named = report["dropped"]["listed"] if lenient else report["problems"]
    assert report["ok"] == lenient
    assert named[0]["detail"] == "expected a name that means one image, got one of 2: cam1/0.png, cam2/0.png"
    if lenient:  # each image keeps the boxes of its own labels
        dataset = open_dataset(tmp_path / "a.zip", tmp_path / "cache", reading=Reading(lenient=True))
        assert len(truth(dataset, "val")["annotations"]) == 2


# -- categories, layouts


def test_root_categories_are_no_classes(tmp_path: Path) -> None:
    root = _annotated(tmp_path / "d", "coco", {"train": {}, "val": {}})
    for split in ("train", "val"):
        document = json.loads((root / f"{split}.json").read_text())
        for name, roots in (("vehicles", "vehicles"), ("car", "car")):
            document["categories"] = [
                {"id": 0, "name": roots, "supercategory": "none"},
                {"id": 1, "name": "car", "supercategory": name},
            ]
            (root / f"{split}.json").write_text(json.dumps(document))
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache")
    assert (report["ok"], report["names"]) == (True, ["car"])
    assert "train.json: dropped categories that only group others: car" in report["warnings"]


def test_ignored_regions_count_for_nobody_in_coco_too(tmp_path: Path) -> None:
    root = _annotated(tmp_path / "d", "coco", {"train": {}, "val": {"category_id": 2}}, images=2)
    for split in ("train", "val"):
        document = json.loads((root / f"{split}.json").read_text())
        document["categories"] = [{"id": 1, "name": "car"}, {"id": 2, "name": "ignored-regions"}]
        document["annotations"][-1]["ignore"] = 1
        (root / f"{split}.json").write_text(json.dumps(document))
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache")
    assert report["names"] == ["car"]
    assert {s: v["ignored_boxes"] for s, v in report["statistics"]["splits"].items()} == {"train": 1, "val": 2}


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize(
    "case", ["polygons", "lists", "another yaml", "unused test", "unlabelled test", "foreign path", "folders"]
)
def test_what_people_bring_is_taken(tmp_path: Path, case: str, lenient: bool) -> None:
    root = make_dataset(tmp_path / "d", label=LABELS)
    (root / "images/train/b.png").write_bytes((root / "images/train/a.png").read_bytes())
    (root / "labels/train/b.txt").write_text(LABELS)
    head = "train: images/train\nval: images/val\nnames: [car, person]\n"
    match case:
        case "polygons":
            (root / "labels/train/b.txt").write_text("0 .1 .1 .3 .1 .3 .35 .1 .35\n1 .5 .5 .2 .2\n")
        case "lists":
            for split in ("train", "val"):
                names = sorted(p.name for p in (root / "images" / split).iterdir())
                (root / f"{split}.txt").write_text("".join(f"data/images/{split}/{name}\n" for name in names))
            head = "path: .\ntrain: train.txt\nval: val.txt\nnames: {0: car, 1: person}\n"
        case "another yaml":
            (root.parent / "up").mkdir()
            shutil.move(root, root.parent / "up" / "set")
            root = root.parent / "up"
            (root / "docker-compose.yml").write_text("services: {}\n")
        case "unused test":
            head += "test: ../test/images\n"
        case "unlabelled test":
            shutil.copytree(root / "images/val", root / "images/test")
            head += "test: images/test\n"
        case "foreign path":
            head = "path: /elsewhere/datasets/d\n" + head
        case "folders":
            head = "train: [images/train, images/val]\nval: images/val\nnames: [car, person]\n"
    if case != "another yaml":
        (root / "data.yaml").write_text(head)
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache", Reading(lenient))
    assert report["ok"], report["problems"]
    train = report["statistics"]["splits"]["train"]
    assert (train["images"], train["boxes"]) == ((3, 6) if case == "folders" else (2, 4))
    if case == "unlabelled test":
        assert "test: none of 1 images has a label file, so the split cannot be evaluated on" in report["warnings"]
    if lenient:
        assert report["dropped"]["counts"] == {}


@pytest.mark.parametrize("linked", ["images", "images/train", "images/train/flight", "labels", "image", "label"])
def test_a_linked_folder_or_file_has_the_labels_beside_its_name(tmp_path: Path, linked: str) -> None:
    """An owner may link to where the images are; their labels are beside the link, not beside its target."""
    root, elsewhere = make_dataset(tmp_path / "d", label=LABELS), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "labels").mkdir()  # of another dataset; must not be read
    if linked == "images/train/flight":
        for what in ("images", "labels"):
            (root / what / "train/flight").mkdir()
            for file in sorted(p for p in (root / what / "train").iterdir() if p.is_file()):
                file.rename(file.parent / "flight" / file.name)
        (root / "images/train/flight/back").symlink_to(root / "images/train")  # a loop
    link = root / {"image": "images/train/a.png", "label": "labels/train/a.txt"}.get(linked, linked)
    link.rename(elsewhere / link.name)
    link.symlink_to(elsewhere / link.name)
    before = tree(elsewhere)
    dataset = open_dataset(root, tmp_path / "cache")
    assert check(dataset).problems == []
    for split in ("train", "val"):
        images = load(dataset, split, tmp_path / "run")
        assert [len(label["cls"]) for label in images.labels] == [2]
    assert tree(elsewhere) == before
    uploaded = inspect(packed(root, tmp_path), tmp_path / "cache")
    assert (uploaded["ok"], uploaded["statistics"]["boxes"]) == (True, 4)


@pytest.mark.slow
@pytest.mark.parametrize("lenient", [False, True])
def test_no_case_of_the_collection_ends_in_a_traceback(tmp_path: Path, lenient: bool) -> None:
    first = find("data/cases/tiff_zstd.zip")
    if first is None:
        pytest.skip("needs the collection of odd inputs")
    refused = set()
    for case in sorted(first.parent.glob("*.zip")):
        report = inspect(case, tmp_path / "cache", Reading(lenient))
        if not report["ok"]:
            refused.add(case.stem)
            continue
        dataset = open_dataset(case, tmp_path / "cache", reading=Reading(lenient))
        for split, counted in report["statistics"]["splits"].items():
            images = load(dataset, split, tmp_path / "run")
            assert len(images.im_files) == counted["images"]
            assert sum(len(label["cls"]) for label in images.labels) == counted["boxes"]
            if split in dataset.annotations:
                assert len(truth(dataset, split)["images"]) == counted["images"]
    ambiguous = set() if lenient else {"annotations_same_names_without_folders"}
    assert refused == {"label_studio_yolo"} | ambiguous


def _annotated(root: Path, layout: str, changes: dict[str, dict[str, Any]], images: int = 1) -> Path:
    """Write a dataset of one class as COCO JSON, or in YOLO layout with COCO JSON beside it.

    Args:
        root: the folder to make.
        layout: `coco` or `beside`.
        changes: by split, fields of its first annotation.
        images: of each split.
    """
    for split in ("train", "val"):
        folder = root / ("images" if layout == "beside" else "") / split
        folder.mkdir(parents=True)
        labels = root / "labels" / split
        document: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "car"}]}
        for number in range(images):
            Image.fromarray(np.roll(picture(), number + len(split))).save(folder / f"{number}.png")
            if layout == "beside":
                labels.mkdir(parents=True, exist_ok=True)
                (labels / f"{number}.txt").write_text("0 0.20833333 0.225 0.25 0.25\n")
            entry = {"id": number + 1, "file_name": f"{number}.png", "width": WIDTH, "height": HEIGHT}
            document["images"].append(entry)
            document["annotations"].append(
                {"id": number + 1, "image_id": number + 1, "category_id": 1, "bbox": [4, 4, 12, 10], "iscrowd": 0}
            )
        document["annotations"][0] |= changes.get(split, {})
        file = root / ("annotations" if layout == "beside" else "") / f"{split}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(document))
    if layout == "beside":
        (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [car]\n")
    return root


MEANT: dict[str, tuple[Callable[[str], bytes], str]] = {
    "no categories": (lambda text: text.replace("categories", "kinds").encode(), "got none called categories"),
    "no annotations": (lambda text: text.replace('"annotations"', '"boxes"').encode(), "got none called annotations"),
    "cut short": (lambda text: text[:-20].encode(), "expected JSON, got: "),
    "no category": (
        lambda text: text.replace('[{"id": 1, "name": "car"}]', "[]").encode(),
        "expected at least one category, got none",
    ),
}


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("fault", MEANT)
def test_a_split_whose_json_cannot_be_read_is_refused_and_not_passed_over(
    tmp_path: Path, fault: str, lenient: bool
) -> None:
    root = _annotated(tmp_path / "d", "coco", {"train": {}, "val": {}})
    change, words = MEANT[fault]
    (root / "train.json").write_bytes(change((root / "train.json").read_text()))
    (problem,) = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache", Reading(lenient))["problems"]
    assert problem["where"].startswith("train.json")
    assert words in problem["detail"]


@pytest.mark.parametrize("layout", ["coco", "beside"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_json_in_the_encodings_of_windows_is_read(tmp_path: Path, encoding: str, layout: str) -> None:
    root = _annotated(tmp_path / "d", layout, {"train": {}, "val": {}})
    for file in [*root.glob("*.json"), *root.glob("annotations/*.json")]:
        file.write_text(file.read_text(), encoding=encoding)
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache")
    assert (report["ok"], report["statistics"]["boxes"]) == (True, 2)


@pytest.mark.parametrize("layout", ["coco", "beside"])
def test_polygons_without_a_box_have_their_bounding_box(tmp_path: Path, layout: str) -> None:
    outline = [[4, 4, 16, 4, 16, 9], [4, 6, 10, 14, 8, 14]]
    change = {"bbox": [], "segmentation": outline}
    root = _annotated(tmp_path / "d", layout, {"train": change, "val": change})
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache")
    assert report["ok"], report["problems"]
    assert any("1 annotations have polygons, but no box" in warning for warning in report["warnings"])
    (box,) = truth(open_dataset(tmp_path / "a.zip", tmp_path / "cache"), "val")["annotations"]
    assert box["bbox"] == [4, 4, 12, 10]


def test_images_that_no_annotation_file_names_are_counted(tmp_path: Path) -> None:
    root = _annotated(tmp_path / "d", "coco", {"train": {}, "val": {}})
    shutil.copy(root / "val/0.png", root / "val/extra.png")
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache")
    assert "skipped 1 images that no annotation file names, such as val/extra.png" in report["warnings"]


@pytest.mark.parametrize("lenient", [False, True])
def test_a_label_file_with_an_upper_case_suffix_is_never_a_missing_one(tmp_path: Path, lenient: bool) -> None:
    root = make_dataset(tmp_path / "d", label=LABELS)
    shutil.copy(root / "images/train/a.png", root / "images/train/b.png")
    (root / "labels/train/b.TXT").write_text(LABELS)
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache", Reading(lenient))
    (told,) = report["dropped"]["listed"] if lenient else report["problems"]
    assert (report["ok"], told["detail"]) == (lenient, "expected the label file b.txt, got b.TXT")
    assert not lenient or report["statistics"]["splits"]["train"]["images"] == 1


@pytest.mark.parametrize("text", ["names: [a]\nnames: [b]\n", "names: {0: a, 1: b, 0: c}\n"])
def test_a_key_twice_in_a_data_yaml_is_refused(tmp_path: Path, text: str) -> None:
    root = make_dataset(tmp_path / "d", yaml="train: images/train\nval: images/val\n" + text)
    (problem,) = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache")["problems"]
    assert "more than once" in problem["detail"]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_a_name_with_a_line_separator_is_one_name(tmp_path: Path, separator: str) -> None:
    root = make_dataset(tmp_path / "d", label=LABELS)
    for file in (root / "images/train/a.png", root / "labels/train/a.txt"):
        file.rename(file.with_name(f"a{separator}b{file.suffix}"))
    dataset = open_dataset(root, tmp_path / "cache")
    assert check(dataset).problems == []
    assert [len(label["cls"]) for label in load(dataset, "train", tmp_path / "run").labels] == [2]


@pytest.mark.parametrize("packing", [False, True])
def test_labels_of_poses_are_no_polygons(tmp_path: Path, packing: bool) -> None:
    yaml = "train: images/train\nval: images/val\nnames: [person]\nkpt_shape: [3, 2]\n"
    root = make_dataset(tmp_path / "d", yaml=yaml, label="0 .5 .5 .2 .2 .4 .4 .5 .5 .6 .6\n")
    with pytest.raises(DatasetError, match="got labels of poses: export the dataset for detection"):
        open_dataset(zip_up(root, tmp_path / "a.zip") if packing else root, tmp_path / "cache")


@pytest.mark.parametrize("train", ["images\\train", "..\\images\\train", ".\\images\\train"])
@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_paths_and_words_of_other_tools_are_read(tmp_path: Path, train: str, val: str) -> None:
    root = make_dataset(tmp_path / "d", yaml=f"train: {train}\n{val}: images/val\nnames: [car, person]\n", label=LABELS)
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache")
    assert (report["ok"], sorted(report["statistics"]["splits"])) == (True, ["train", "val"])


@pytest.mark.parametrize(
    "name", ["\u06cc\u200c\u0645", "\u0915\u094d\u200d\u0937", "\U0001f468\u200d\U0001f467", "a\u00a0b"]
)
def test_class_names_of_any_script_are_taken(tmp_path: Path, name: str) -> None:
    root = make_dataset(tmp_path / "d", yaml=f"train: images/train\nval: images/val\nnames: [{name}, other]\n")
    assert inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache")["names"] == [name, "other"]


def test_an_empty_line_among_class_names_is_no_class(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d", yaml=None)
    (root / "classes.txt").write_text("car\n\nperson\n")
    reading = Reading(split=Split(val=0.5))
    (problem,) = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache", reading)["problems"]
    assert "for class 1, got ''" in problem["detail"]


@pytest.mark.parametrize("apart", [0.0, 1e-8])
def test_a_box_that_is_there_twice_counts_once_everywhere(tmp_path: Path, apart: float) -> None:
    root = _annotated(tmp_path / "d", "coco", {"train": {}, "val": {}})
    for split in ("train", "val"):
        document = json.loads((root / f"{split}.json").read_text())
        first = document["annotations"][0]
        document["annotations"] += [
            first | {"id": 2, "bbox": [4 + apart, 4, 12, 10]},
            first | {"id": 3, "bbox": [20, 20, 12, 10]},
            first | {"id": 4, "iscrowd": 1},
        ]
        (root / f"{split}.json").write_text(json.dumps(document))
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache")
    dataset = open_dataset(tmp_path / "a.zip", tmp_path / "cache")
    assert "dropped 2 boxes that repeat another one of their image" in report["warnings"]
    assert report["statistics"]["splits"]["val"]["boxes"] == 2
    assert len(load(dataset, "val", tmp_path / "run").labels[0]["cls"]) == 2
    assert [one["iscrowd"] for one in truth(dataset, "val")["annotations"]] == [0, 0, 1]
