"""Pascal VOC as people bring it, read strictly: what is checked, trained on and evaluated is what the XML says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from rdrkd.data import open_dataset
from rdrkd.data.check import examine
from rdrkd.data.reading import Reading
from rdrkd.run.inspection import inspect
from tests.rdrkd.data.crafted import make_image, zip_up
from tests.rdrkd.data.loading import truth

WIDTH, HEIGHT = 48, 40
Change = Callable[[str], str]


def box(left: Any, top: Any, right: Any, bottom: Any) -> str:
    corners = (("xmin", left), ("ymin", top), ("xmax", right), ("ymax", bottom))
    return "<bndbox>" + "".join(f"<{tag}>{value}</{tag}>" for tag, value in corners) + "</bndbox>"


def thing(name: str = "car", where: str = box(5, 5, 16, 14), difficult: Any = None) -> str:
    flag = "" if difficult is None else f"<difficult>{difficult}</difficult>"
    return f"<object><name>{escape(name)}</name><pose>Left</pose>{flag}{where}</object>"


def xml(filename: str, *objects: str, size: tuple[int, int] | None = (WIDTH, HEIGHT)) -> str:
    shown = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    named = f"<folder>x</folder><filename>{filename}</filename><path>C:\\x\\{filename}</path>"
    return f"<annotation>{named}{shown}<segmented>0</segmented>{''.join(objects)}</annotation>"


def devkit(root: Path, *objects: str, change: Change = str, images: int = 3, listed: str = "{}") -> Path:
    """Write VOC's own folders, a list for each of the splits."""
    base = root / "VOCdevkit/VOC2012"
    (base / "Annotations").mkdir(parents=True)
    (base / "ImageSets/Main").mkdir(parents=True)
    for split in ("train", "val"):
        stems = [f"{split}_{number}" for number in range(images)]
        (base / f"ImageSets/Main/{split}.txt").write_text("".join(f"{listed.format(stem)}\n" for stem in stems))
        (base / f"ImageSets/Main/car_{split}.txt").write_text("".join(f"{stem} -1\n" for stem in stems))
        for number, stem in enumerate(stems):
            make_image(base / "JPEGImages" / f"{stem}.png", WIDTH, HEIGHT, number + len(split))
            text = xml(f"{stem}.png", *(objects or (thing(),)))
            (base / "Annotations" / f"{stem}.xml").write_text(change(text) if number == 0 else text)
    return root


def beside(root: Path, *objects: str, splits: tuple[str, ...] = ("train", "valid")) -> Path:
    """Write each XML file beside its image, as Roboflow and labelImg do."""
    for split in splits:
        for number in range(2):
            make_image(root / split / f"a{number}.png", WIDTH, HEIGHT, number)
            (root / split / f"a{number}.xml").write_text(xml(f"a{number}.png", *(objects or (thing(),))))
    return root


def look(root: Path, tmp_path: Path, lenient: bool = False, **how: Any) -> dict[str, Any]:
    return inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache", Reading(lenient, **how))


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("layout", [devkit, beside])
def test_both_layouts_give_the_boxes_of_the_xml(tmp_path: Path, layout: Callable[..., Path], lenient: bool) -> None:
    objects = (thing("van"), thing("car", box(20, 10, 20, 30), 0), thing("car", box(1, 1, WIDTH, HEIGHT), 1))
    report = look(layout(tmp_path / "d", *objects), tmp_path, lenient)
    assert (report["ok"], report["format"], report["problems"]) == (True, "voc", [])
    assert report["names"] == ["car", "van"]
    assert "6 objects are `difficult`: excluded from training, ignored by evaluation" in report["warnings"] or (
        layout is beside
    )
    dataset = open_dataset(tmp_path / "a.zip", tmp_path / "cache", reading=Reading(lenient))
    for split in ("train", "val"):
        for one in examine(dataset, split):
            # px from 1, the last one included: 5..16 are the 12 px from 4 to 16
            found = sorted((b.label, *(round(v, 3) for v in (b.x, b.y, b.width, b.height))) for b in one.boxes)
            assert found == [(0, 19.0, 9.0, 1.0, 21.0), (1, 4.0, 4.0, 12.0, 10.0)]
        judged = truth(dataset, split)
        crowds = [a["bbox"] for a in judged["annotations"] if a["iscrowd"]]
        assert crowds == [[0, 0, WIDTH, HEIGHT]] * len(judged["images"])


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ((5, 5, 16, 14), [4, 4, 12, 10]),
        ((0, 5, 16, 14), [0, 5, 16, 9]),
        ((5.5, 5, 16.25, 14), [5.5, 5, 10.75, 9]),
        (("5.0", "5", "1.6e1", "14"), [4, 4, 12, 10]),
    ],
)
def test_where_coordinates_begin_is_seen_of_the_whole_upload(
    tmp_path: Path, corners: tuple[Any, ...], expected: list[float]
) -> None:
    report = look(devkit(tmp_path / "d", thing("car", box(*corners))), tmp_path)
    assert report["ok"], report["problems"]
    assert len([w for w in report["warnings"] if w.startswith("coordinates are read as")]) == 1
    dataset = open_dataset(tmp_path / "a.zip", tmp_path / "cache")
    assert truth(dataset, "val")["annotations"][0]["bbox"] == pytest.approx(expected)


@pytest.mark.parametrize(
    "polygon",
    [
        "<polygon><x1>5</x1><y1>5</y1><x2>16</x2><y2>5</y2><x3>16</x3><y3>14</y3></polygon>",
        "<polygon><pt><x>5</x><y>14</y></pt><pt><x>16</x><y>5</y></pt><pt><x>9</x><y>9</y></pt></polygon>",
    ],
)
@pytest.mark.parametrize("with_box", [False, True])
def test_a_polygon_is_its_box(tmp_path: Path, polygon: str, with_box: bool) -> None:
    report = look(beside(tmp_path / "d", thing("car", polygon + (box(5, 5, 16, 14) if with_box else ""))), tmp_path)
    assert report["ok"], report["problems"]
    assert any("polygons; their bounding boxes are used" in w for w in report["warnings"]) == (not with_box)
    dataset = open_dataset(tmp_path / "a.zip", tmp_path / "cache")
    assert truth(dataset, "val")["annotations"][0]["bbox"] == [4, 4, 12, 10]


FAULTS: dict[str, tuple[Change, str]] = {
    "no number": (lambda text: text.replace("<xmin>5", "<xmin>five"), "expected a number as <xmin>, got 'five'"),
    "infinite": (lambda text: text.replace("<xmax>16", "<xmax>1e999"), "expected a number as <xmax>"),
    "missing corner": (lambda text: text.replace("<ymax>14</ymax>", ""), "expected a number as <ymax>, got ''"),
    "turned": (lambda text: text.replace("<xmin>5", "<xmin>17"), "expected xmin <= xmax"),
    "outside": (lambda text: text.replace("<xmax>16", "<xmax>999"), "expected a box with its centre in the image"),
    "no name": (lambda text: text.replace("<name>car</name>", "<name> </name>"), "expected a <name>, got none"),
    "no box": (lambda text: text.replace("bndbox", "rotated"), "expected a <bndbox> or a <polygon>, got neither"),
    "flag": (lambda text: text.replace("<pose>", "<difficult>x</difficult><pose>"), "expected 0 or 1 as <difficult>"),
    "size": (lambda text: text.replace("<width>48", "<width>47"), "expected the size of its image, 48x40 px, got"),
    "broken": (lambda text: text[:-20], "expected XML without document type and entities"),
    "entities": (
        lambda text: '<!DOCTYPE annotation [<!ENTITY a "car">]>' + text.replace(">car<", ">&a;<"),
        "expected XML without document type",
    ),
}  # fmt: skip


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_at_fault_is_named_by_file_and_object(tmp_path: Path, fault: str, lenient: bool) -> None:
    change, expected = FAULTS[fault]
    report = look(devkit(tmp_path / "d", change=change), tmp_path, lenient)
    named = report["dropped"]["listed"] if lenient else report["problems"]
    assert report["ok"] == lenient
    assert any(
        expected in one["detail"] and one["where"].startswith("VOCdevkit/VOC2012/Annotations/train_0.xml")
        for one in named
    )
    if lenient:
        assert report["statistics"]["splits"]["train"]["images"] == 2


def test_keep_keeps_the_image_that_loses_a_box(tmp_path: Path) -> None:
    root = devkit(tmp_path / "d", thing(), thing("van"), change=FAULTS["no number"][0])
    counts = [
        look(root, tmp_path, lenient=True, keep=keep)["statistics"]["splits"]["train"]["images"]
        for keep in (False, True)
    ]
    assert counts == [2, 3]


def test_a_name_of_the_past_is_no_matter_but_two_xml_files_are(tmp_path: Path) -> None:
    root = beside(tmp_path / "d")
    text = (root / "train/a0.xml").read_text()
    (root / "train/a0.xml").write_text(text.replace("a0.png", "DSC_0001.JPG"))
    assert look(root, tmp_path)["ok"]
    (root / "train/more.xml").write_text(xml("a0.png", thing()))
    report = look(root, tmp_path)
    assert not report["ok"]
    assert "expected a name that means one image" in report["problems"][0]["detail"]


def test_without_a_split_the_refusal_says_how_to_divide(tmp_path: Path) -> None:
    report = look(beside(tmp_path / "d", splits=("flight",)), tmp_path)
    assert not report["ok"]
    assert "`val=0.2` takes a fifth of the images" in report["problems"][0]["detail"]
    assert look(tmp_path / "d", tmp_path)["ok"] is False


@pytest.mark.parametrize("listed", ["{}", "{}.png", "{}.PNG", "JPEGImages/{}.jpg", "./{}.tif"])
def test_a_list_names_images_with_or_without_their_suffix(tmp_path: Path, listed: str) -> None:
    report = look(devkit(tmp_path / "d", listed=listed), tmp_path)
    assert report["ok"], report["problems"]
    assert {name: split["images"] for name, split in report["statistics"]["splits"].items()} == {"train": 3, "val": 3}


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "got an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\nsize 5\n", "got a Git LFS pointer to a file of 5 bytes"),
        (b"<!DOCTYPE html><html></html>", "got a web page"),
        (b"<other/>", "got something else"),
    ],
)
@pytest.mark.parametrize("layout", [devkit, beside])
def test_an_xml_file_of_an_image_is_never_skipped(
    tmp_path: Path, layout: Callable[[Path], Path], content: bytes, words: str, lenient: bool
) -> None:
    root = layout(tmp_path / "d")
    file = min(root.rglob("*.xml"))
    file.write_bytes(content)
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache", Reading(lenient))
    (told,) = report["dropped"]["listed"] if lenient else report["problems"]
    assert report["ok"] == lenient
    assert told["where"].endswith(file.name)
    assert words in told["detail"]


@pytest.mark.parametrize("layout", [devkit, beside])
def test_an_image_without_an_xml_file_is_counted(tmp_path: Path, layout: Callable[[Path], Path]) -> None:
    root = layout(tmp_path / "d")
    file = min(root.rglob("*.xml"))
    file.unlink()
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache")
    assert any("skipped 1 images without an XML file, such as" in warning for warning in report["warnings"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_xml_in_the_encodings_of_windows_is_read(tmp_path: Path, encoding: str) -> None:
    root = beside(tmp_path / "d", thing("café"))
    for file in root.rglob("*.xml"):
        file.write_text(file.read_text(), encoding=encoding)
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache")
    assert (report["ok"], report["names"], report["statistics"]["boxes"]) == (True, ["café"], 4)
