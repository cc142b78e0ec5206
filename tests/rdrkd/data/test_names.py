"""Names of files and classes, however they are written: matched by one rule, or refused by name."""

import json
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdrkd.data import open_dataset, visdrone
from rdrkd.data.check import check
from rdrkd.data.reading import Reading
from rdrkd.errors import DatasetError
from tests.rdrkd.data.crafted import YAML, make_dataset, make_image, zip_up
from tests.rdrkd.data.loading import load, the_same_everywhere

LINE = "0 .5 .5 .25 .5\n"
ACCENTED = st.sampled_from(["café", "Ångström 7", "ру́сский", "한국어", "näive.x", "ệ"])
FORMS = st.sampled_from(["NFC", "NFD"])


def names(report: dict[str, Any]) -> dict[str, int]:
    return {split: one["images"] for split, one in report["statistics"]["splits"].items()}


# -- lists of images


def listed(root: Path, lines: dict[str, list[str]], images: list[str]) -> Path:
    """Write a YOLO dataset whose splits are lists."""
    for seed, image in enumerate(images):
        make_image(root / "images" / f"{image}.png", seed=seed)
        label = root / "labels" / f"{image}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(LINE * (1 + seed % 2))
    for split, entries in lines.items():
        (root / f"{split}.txt").write_text("\n".join(entries))
    (root / "data.yaml").write_text("train: train.txt\nval: val.txt\nnames: [car]\n")
    return root


@pytest.mark.parametrize("form", ["{}", "./{}", "data/{}", "/elsewhere/set/{}", "C:\\sets\\one\\{}", "..\\set\\{}"])
@pytest.mark.parametrize("archived", [True, False])
def test_a_list_of_another_machine_begins_alike(tmp_path: Path, form: str, archived: bool) -> None:
    entries = {"train": ["images/cam1/0.png", "images/cam2/0.png"], "val": ["images/cam1/1.png"]}
    written = {
        split: [form.format(line.replace("/", "\\") if "\\" in form else line) for line in lines]
        for split, lines in entries.items()
    }
    root = listed(tmp_path / "d", written, ["cam1/0", "cam2/0", "cam1/1", "0"])
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip") if archived else root, tmp_path)
    assert names(report) == {"train": 2, "val": 1}


@pytest.mark.parametrize("archived", [True, False])
@pytest.mark.parametrize(
    ("train", "val"),
    [
        (["images/cam1/0.png", "data/images/cam2/0.png"], ["images/cam1/1.png"]),  # begin differently
        (["x/images/cam1/0.png", "y/images/cam2/0.png"], ["images/cam1/1.png"]),
        (["images/cam1/0.png", "images/cam3/0.png"], ["images/cam1/1.png"]),  # of cam3 there is only images/0.png
        (["x/images/cam1/0.png"], ["y/images/cam1/0.png"]),  # two sets become one
    ],
)
def test_a_shortened_entry_is_never_another_image(
    tmp_path: Path, train: list[str], val: list[str], archived: bool
) -> None:
    root = listed(tmp_path / "d", {"train": train, "val": val}, ["cam1/0", "cam2/0", "cam1/1", "0"])
    for lenient in (False, True) if archived else (False,):
        report = the_same_everywhere(zip_up(root, tmp_path / "a.zip") if archived else root, tmp_path, Reading(lenient))
        assert not report["ok"]
        assert report["problems"][0]["where"].startswith("data.yaml: ")


def test_an_image_that_a_list_names_again_is_told(tmp_path: Path) -> None:
    root = listed(tmp_path / "d", {"train": ["images/0.png", "./images/0.png"], "val": ["images/1.png"]}, ["0", "1"])
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip"), tmp_path)
    assert "data.yaml: train: train.txt: 1 entries name an image again; each is used once" in report["warnings"]


# -- label files


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(stem=ACCENTED, forms=st.tuples(FORMS, FORMS), layout=st.sampled_from(["folder", "yolo", "visdrone", "voc"]))
def test_labels_belong_to_the_image_of_their_name_however_composed(
    tmp_path_factory: pytest.TempPathFactory, stem: str, forms: tuple[Any, Any], layout: str
) -> None:
    scratch = tmp_path_factory.mktemp("forms")
    image, label = (unicodedata.normalize(form, stem) for form in forms)
    root = scratch / "d"
    for of in ("train", "val"):
        make_image(root / f"{of}/images/{image}.png")
        make_image(root / f"{of}/images/other.png", seed=7)
        folder = root / of / ("labels" if layout in ("folder", "yolo") else "annotations")
        folder.mkdir()
        corners = "<xmin>4</xmin><ymin>4</ymin><xmax>9</xmax><ymax>9</ymax>"
        text = {"visdrone": "4,4,5,5,1,4,0,0\n"}.get(layout, LINE)
        text = (
            f"<annotation><object><name>car</name><bndbox>{corners}</bndbox></object></annotation>"
            if layout == "voc"
            else text
        )
        for name in (label, "other"):
            (folder / f"{name}.{'xml' if layout == 'voc' else 'txt'}").write_text(text)
    if layout in ("folder", "yolo"):
        (root / "data.yaml").write_text("train: train/images\nval: val/images\nnames: [car]\n")
    report = the_same_everywhere(root if layout == "folder" else zip_up(root, scratch / "a.zip"), scratch)
    assert report["ok"], report["problems"]
    assert report["statistics"]["boxes"] == 4


@pytest.mark.parametrize("called", ["a.Txt", "A.txt", "A.TXT", "a.tXT"])
@pytest.mark.parametrize("archived", [True, False])
def test_a_label_file_that_only_windows_would_find_is_refused(tmp_path: Path, called: str, archived: bool) -> None:
    root = make_dataset(tmp_path / "d")
    make_image(root / "images/train/b.png", seed=5)
    (root / "labels/train/b.txt").write_text(LINE)
    (root / "labels/train/a.txt").rename(root / "labels/train" / called)
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip") if archived else root, tmp_path)
    assert {p["where"]: p["detail"] for p in report["problems"]} == {
        "images/train/a.png": f"expected the label file a.txt, got {called}"
    }


@pytest.mark.parametrize("lenient", [False, True])
def test_a_folder_is_no_label_file(tmp_path: Path, lenient: bool) -> None:
    root = make_dataset(tmp_path / "d")
    make_image(root / "images/val/b.png", seed=5)
    (root / "labels/val/b.txt").mkdir()
    (root / "labels/val/b.txt/c.txt").write_text(LINE)
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip"), tmp_path, Reading(lenient))
    fault = (report["dropped"]["listed"] if lenient else report["problems"])[0]
    assert fault == {"where": "labels/val/b.txt", "detail": "expected a label file, got a folder"}
    assert not lenient or names(report) == {"train": 1, "val": 1}


@pytest.mark.parametrize("place", ["images", "x/images/y", "labels/images"])
@pytest.mark.parametrize("form", ["{}/images", "{}"])
def test_labels_are_found_wherever_the_cache_is(tmp_path: Path, place: str, form: str) -> None:
    root = tmp_path / "d"
    for of in ("train", "val"):
        make_image(root / form.format(of) / "a.png", seed=len(of))
        label = root / form.format(of).replace("images", "labels") / "a.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text(LINE)
    text = "".join(f"{of}: {form.format(of)}\n" for of in ("train", "val"))
    (root / "data.yaml").write_text(f"{text}names: [car]\n")
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip"), tmp_path / place)
    assert report["ok"], report["problems"]
    assert report["statistics"]["boxes"] == 2


def test_a_label_file_that_vanishes_after_the_check_is_named(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d")
    images = load(open_dataset(root, tmp_path), "train", tmp_path / "run")
    (root / "labels/train/a.txt").unlink()
    with pytest.raises(DatasetError, match=r"a\.png: .* expected its label file a\.txt, got nothing there"):
        images.get_labels()


@pytest.mark.parametrize("letter", ["\n", "\r", "\t", "\x7f", "\udcff"])
@pytest.mark.parametrize("where", ["images/train", "."])
def test_a_local_name_that_no_list_can_hold_is_refused(tmp_path: Path, letter: str, where: str) -> None:
    root = make_dataset(tmp_path / (f"d{letter}" if where == "." else "d"))
    if where != ".":
        (root / where / "a.png").rename(root / where / f"a{letter}b.png")
    with pytest.raises(DatasetError, match="expected paths in UTF-8 without control characters, got"):
        open_dataset(root, tmp_path)


# -- archives


def test_names_that_disks_keep_apart_are_two(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d")
    for stem in ("straße", "strasse", "STRASSE 2", "ŉ", "ʼn"):
        make_image(root / f"images/train/{stem}.png", seed=len(stem))
        (root / f"labels/train/{stem}.txt").write_text(LINE)
    assert names(the_same_everywhere(zip_up(root, tmp_path / "a.zip"), tmp_path)) == {"train": 6, "val": 1}


@pytest.mark.parametrize("pair", ["É é", "cafe\u0301 café", "Σ ς", "K k", "Ж ж", "A a"])
def test_names_that_are_one_on_some_disk_are_refused(tmp_path: Path, pair: str) -> None:
    root = make_dataset(tmp_path / "d")
    for stem in pair.split():
        make_image(root / f"images/train/{stem}.png")
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip"), tmp_path)
    assert "expected each name once, got it 2 times" in report["problems"][0]["detail"]


def without_flag(archive: Path, encoding: str) -> Path:
    """Write a zip anew as old tools do: names in an encoding of their own, and no flag that says which."""
    target = archive.with_name("old.zip")
    swaps: dict[bytes, bytes] = {}
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w") as made:
        for number, entry in enumerate(source.infolist()):
            raw = entry.filename.encode(encoding)
            stand_in = f"{number:04}".rjust(len(raw), "_")
            swaps[stand_in.encode()] = raw
            made.writestr(stand_in, source.read(entry))
    whole = target.read_bytes()
    for stand_in, raw in swaps.items():
        whole = whole.replace(stand_in, raw)
    target.write_bytes(whole)
    return target


@pytest.mark.parametrize("encoding", ["utf-8", "cp437"])
@pytest.mark.parametrize("stem", ["Aufnahme über der Straße", "cañón_0001", "élan vital"])
def test_names_of_a_zip_without_the_flag_are_read_by_one_rule(tmp_path: Path, encoding: str, stem: str) -> None:
    for of in ("train", "val"):
        make_image(tmp_path / "d" / of / f"{stem} {of}.png")
        document = {
            "images": [{"id": 1, "file_name": f"{stem} {of}.png", "width": 32, "height": 24}],
            "categories": [{"id": 1, "name": "car"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 8, 8]}],
        }
        (tmp_path / f"d/{of}.json").write_text(json.dumps(document))
    report = the_same_everywhere(without_flag(zip_up(tmp_path / "d", tmp_path / "a.zip"), encoding), tmp_path)
    assert report["ok"], report["problems"]
    assert report["statistics"]["boxes"] == 2


@pytest.mark.parametrize("suffix", ["png", "tiff", "JPEG"])
@pytest.mark.parametrize("letter", ["x", "é", "한"])
def test_converted_names_fit_every_disk(tmp_path: Path, suffix: str, letter: str) -> None:
    folder = letter * (150 // len(letter.encode()))
    for of in ("train", "val"):
        for camera in ("1", "2"):
            make_image(tmp_path / "d" / of / f"{folder}{camera}" / f"{folder[:-4]}.{suffix}", seed=int(camera))
        document = {
            "images": [
                {"id": n, "file_name": f"{folder}{n}/{folder[:-4]}.{suffix}", "width": 32, "height": 24} for n in (1, 2)
            ],
            "categories": [{"id": 1, "name": "car"}],
            "annotations": [{"id": n, "image_id": n, "category_id": 1, "bbox": [n, 4, 8, 8]} for n in (1, 2)],
        }
        (tmp_path / f"d/{of}.json").write_text(json.dumps(document))
    report = the_same_everywhere(zip_up(tmp_path / "d", tmp_path / "a.zip"), tmp_path)
    assert report["ok"], report["problems"]
    assert names(report) == {"train": 2, "val": 2}


# -- classes


@pytest.mark.parametrize("layout", ["yaml", "coco", "mapping"])
def test_class_names_that_look_alike_are_refused(tmp_path: Path, layout: str) -> None:
    twice = ["café", "cafe\u0301"]
    root = make_dataset(tmp_path / "d", None)
    content: Any = dict(enumerate(twice)) if layout == "mapping" else twice
    if layout == "coco":
        for of in ("train", "val"):
            document = {
                "images": [{"id": 1, "file_name": f"{of}/a.png", "width": 32, "height": 24}],
                "categories": [{"id": n, "name": name} for n, name in enumerate(twice)],
                "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 8, 8]}],
            }
            (root / f"{of}.json").write_text(json.dumps(document))
    else:
        (root / "data.yaml").write_text(YAML.replace("[car, person]", json.dumps(content, ensure_ascii=False)))
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip"), tmp_path)
    assert "expected distinct names, got ['café'] more than once" in report["problems"][0]["detail"]


def test_objects_of_one_class_in_two_forms_are_one_class(tmp_path: Path) -> None:
    for of, name in (("train", "café"), ("val", "cafe\u0301")):
        make_image(tmp_path / f"d/{of}/a.png")
        corners = "<xmin>4</xmin><ymin>4</ymin><xmax>9</xmax><ymax>9</ymax>"
        text = f"<annotation><object><name>{name}</name><bndbox>{corners}</bndbox></object></annotation>"
        (tmp_path / f"d/{of}/a.xml").write_text(text)
    assert the_same_everywhere(zip_up(tmp_path / "d", tmp_path / "a.zip"), tmp_path)["names"] == ["café"]


# -- VisDrone by hand


def test_the_converter_writes_no_image_over_another(tmp_path: Path) -> None:
    for number, name in enumerate(("cam1/0.jpg", "cam2/0.jpg", "cam2/0.png", "Ä.png", "ä.png")):
        make_image(tmp_path / "v/images" / name, 64, 48, number)
        file = (tmp_path / "v/annotations" / name).with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{4 + number},4,10,10,1,4,0,0\n")
    place = str(tmp_path / "v")
    assert visdrone.main([str(tmp_path / "out"), "--train", place, "--val", place]) == 0
    dataset = open_dataset(tmp_path / "out", tmp_path)
    assert check(dataset).problems == []
    assert len(dataset.images("train")) == len(dataset.images("val")) == 5
    document = json.loads(dataset.annotations["train"].read_text())
    # cam2/0.jpg and cam2/0.png share an annotation, as they do in VisDrone's own layout
    assert sorted(a["bbox"][0] for a in document["annotations"]) == [4, 6, 6, 7, 8]
