"""Values that no format allows, and two files that say different things: one meaning, or a refusal by file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rdrkd.data.reading import Reading
from tests.rdrkd.data.crafted import make_dataset, make_image, zip_up
from tests.rdrkd.data.loading import the_same_everywhere

WIDTH, HEIGHT = 48, 40


def visdrone(root: Path, line: str) -> Path:
    for of in ("train", "val"):
        make_image(root / of / "images/a.png", WIDTH, HEIGHT, len(of))
        (root / of / "annotations").mkdir()
        (root / of / "annotations/a.txt").write_text(f"4,4,10,10,1,4,0,0\n{line}\n")
    return root


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    field=st.integers(0, 7),
    value=st.sampled_from(
        ["9" * 400, "9" * 5000, "-" + "9" * 30, "1e9", "1e400", "nan", "inf", "1_0", "٣", "4.5", "", "0x4"]
    ),
    lenient=st.booleans(),
)
def test_no_number_of_visdrone_ends_in_an_error(
    tmp_path_factory: pytest.TempPathFactory, field: int, value: str, lenient: bool
) -> None:
    scratch = tmp_path_factory.mktemp("values")
    words = ["20", "5", "8", "8", "1", "4", "0", "0"]
    words[field] = value
    report = the_same_everywhere(
        zip_up(visdrone(scratch / "d", ",".join(words)), scratch / "a.zip"), scratch, Reading(lenient, keep=lenient)
    )
    assert report["ok"] == lenient
    faults = report["dropped"]["listed"] if lenient else report["problems"]
    assert faults[0]["where"] == "train/annotations/a.txt:2"
    assert "expected 8 whole numbers" in faults[0]["detail"]


@pytest.mark.parametrize(
    "line", ["20, 5, 8, 8, 1, 4, 0, 0", "20.0,5.0,8.0,8.0,1,4,0,0", " 20 ,5,8,8,1,4,0,0,", "+20,5,8,8,1,4,0,-1"]
)
def test_numbers_of_visdrone_may_have_spaces_and_zeros(tmp_path: Path, line: str) -> None:
    root = visdrone(tmp_path / "d", line)
    for file in root.rglob("*.txt"):  # also where the layout is recognised by such a line
        file.write_text(f"{line}\n{file.read_text().splitlines()[0]}\n")
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip"), tmp_path)
    assert (report["format"], report["statistics"]["boxes"]) == ("visdrone", 4)


def coco(root: Path, change: Callable[[dict[str, Any]], object] = lambda document: None, images: int = 4) -> Path:
    """Write a COCO JSON of each split, one box an image."""
    for of in ("train", "val"):
        for number in range(images):
            make_image(root / of / f"{number}.png", WIDTH, HEIGHT, number + 10 * len(of))
        document: dict[str, Any] = {
            "images": [{"id": n, "file_name": f"{n}.png", "width": WIDTH, "height": HEIGHT} for n in range(images)],
            "categories": [{"id": 1, "name": "car"}],
            "annotations": [{"id": n, "image_id": n, "category_id": 1, "bbox": [4, 4, 10, 10]} for n in range(images)],
        }
        change(document)
        (root / f"{of}.json").write_text(json.dumps(document))
    return root


HUGE = [10**400, -(10**30), 1e300, 2**70, "9" * 30]
PLACES: dict[str, Callable[[dict[str, Any], Any], object]] = {
    "id": lambda d, v: d["images"][0].update(id=v),
    "width": lambda d, v: d["images"][0].update(width=v),
    "image_id": lambda d, v: d["annotations"][0].update(image_id=v),
    "category_id": lambda d, v: d["annotations"][0].update(category_id=v),
    "x": lambda d, v: d["annotations"][0].update(bbox=[v, 4, 8, 8]),
    "side of a crowd": lambda d, v: d["annotations"][0].update(bbox=[4, 4, v, 8], iscrowd=1),
    "iscrowd": lambda d, v: d["annotations"][0].update(iscrowd=v),
}


@pytest.mark.parametrize("value", HUGE, ids=lambda value: str(type(value).__name__) + str(value)[:4])
@pytest.mark.parametrize("place", PLACES)
def test_no_number_of_coco_json_ends_in_an_error(tmp_path: Path, place: str, value: Any) -> None:
    root = coco(tmp_path / "d", lambda document: PLACES[place](document, value), images=2)
    archive = zip_up(root, tmp_path / "a.zip")
    assert not the_same_everywhere(archive, tmp_path)["ok"]
    report = the_same_everywhere(archive, tmp_path, Reading(lenient=True))
    assert report["ok"], report["problems"]
    assert report["statistics"]["splits"]["val"]["images"] == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{"images"', '{"images": [], "images"'),
        ('"annotations": [', '"annotations": [], "annotations": ['),
        ('"bbox"', '"bbox": [1, 1, 2, 2], "bbox"'),
    ],
    ids=["images", "annotations", "bbox"],
)
@pytest.mark.parametrize("of", ["train", "val"])
def test_a_key_twice_in_json_is_refused(tmp_path: Path, old: str, new: str, of: str) -> None:
    root = coco(tmp_path / "d", images=1)
    whole = (root / f"{of}.json").read_text()
    assert old in whole
    (root / f"{of}.json").write_text(whole.replace(old, new, 1))
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip"), tmp_path)
    assert report["problems"][0]["where"] == f"{of}.json"
    assert "more than once in an object" in report["problems"][0]["detail"]


@pytest.mark.parametrize(
    "name", ["\ud800.png", "0.png\0", "a/\udfff\0.png", "\n0.png"], ids=["half", "end", "both", "line"]
)
@pytest.mark.parametrize("lenient", [False, True])
def test_a_name_that_no_database_stores_is_told_in_a_form_that_it_does(
    tmp_path: Path, name: str, lenient: bool
) -> None:
    root = coco(tmp_path / "d", lambda document: document["images"][0].update(file_name=name))
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip"), tmp_path, Reading(lenient))
    assert report["ok"] == lenient
    assert (report["dropped"]["listed"] if lenient else report["problems"])[0]["where"].startswith("train.json: ")


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("value", ["x7", 99, None, 1.5, "9" * 30])
def test_images_that_may_have_lost_their_annotations_are_no_background(tmp_path: Path, value: Any, keep: bool) -> None:
    def change(document: dict[str, Any]) -> None:
        document["annotations"][1]["image_id"] = value

    report = the_same_everywhere(
        zip_up(coco(tmp_path / "d", change), tmp_path / "a.zip"), tmp_path, Reading(lenient=True, keep=keep)
    )
    assert report["statistics"]["splits"]["train"]["images"] == (4 if keep else 3)
    told = [one for one in report["dropped"]["listed"] if one["where"] == "train.json: 1.png"]
    assert [one["detail"] for one in told] == (
        [] if keep else ["it has no annotation, while 1 of its file name no image; it may not be background"]
    )


# -- labels and annotations that differ


def beside(root: Path, change: Callable[[list[dict[str, Any]]], object]) -> Path:
    """Write labels and, of the validation images, a COCO JSON of the same boxes, changed."""
    make_dataset(root, label="0 .5 .5 .25 .5\n1 .25 .25 .25 .25\n")  # of 32 x 24 px
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [12, 6, 8, 12]},
        {"id": 2, "image_id": 1, "category_id": 2, "bbox": [4, 3, 8, 6]},
    ]
    change(annotations)
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}],
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "person"}],
        "annotations": annotations,
    }
    (root / "annotations").mkdir()
    (root / "annotations/val.json").write_text(json.dumps(document))
    return root


OTHERS: dict[str, Callable[[list[dict[str, Any]]], object]] = {
    "moved": lambda found: found[0].update(bbox=[15, 6, 8, 12]),
    "larger": lambda found: found[0].update(bbox=[12, 6, 11, 12]),
    "class": lambda found: found[0].update(category_id=2),
    "classes swapped": lambda found: (found[0].update(category_id=2), found[1].update(category_id=1)),
    "gone": lambda found: found.pop(),
    "another": lambda found: found.append({"id": 3, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}),
    "none": lambda found: found.clear(),
}
SAME: dict[str, Callable[[list[dict[str, Any]]], object]] = {
    "exact": lambda found: None,
    "rounded": lambda found: found[0].update(bbox=[12.4, 5.6, 7.6, 12.4]),
    "twice": lambda found: found.append(found[0] | {"id": 9}),
    "an ignored one more": lambda found: found.append(
        {"id": 3, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "iscrowd": 1}
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("archived", [True, False])
def test_annotations_that_differ_from_the_labels_are_refused(tmp_path: Path, kind: str, archived: bool) -> None:
    root = beside(tmp_path / "d", OTHERS[kind])
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip") if archived else root, tmp_path)
    assert [problem["where"] for problem in report["problems"]] == ["annotations/val.json: a.png"]
    assert report["problems"][0]["detail"].startswith("expected the boxes of its label file, got")
    if archived:  # the labels decide: they are what is trained on
        report = the_same_everywhere(tmp_path / "a.zip", tmp_path, Reading(lenient=True))
        assert report["ok"], report["problems"]
        assert report["dropped"]["counts"] == {"annotations": 1}


@pytest.mark.parametrize("kind", SAME)
def test_annotations_that_say_the_same_are_taken(tmp_path: Path, kind: str) -> None:
    report = the_same_everywhere(beside(tmp_path / "d", SAME[kind]), tmp_path)
    assert report["ok"], report["problems"]
    told = "annotations/val.json: 1 boxes repeat another one of their image and count once"
    assert (told in report["warnings"]) == (kind == "twice")


# -- orientation

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP = (
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" '
    'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="ORIENTATION"/></rdf:RDF></x:xmpmeta>'
)


def tagged(file: Path, orientation: int, where: str) -> None:
    """Write an image that is to be turned, by its EXIF or only by its XMP."""
    image = Image.open(make_image(file.with_suffix(".bmp"), WIDTH, HEIGHT))
    text = XMP.replace("ORIENTATION", str(orientation))
    exif = Image.Exif()
    exif[0x0112] = orientation
    how: dict[str, Any] = {"exif": exif}
    if where == "xmp" and file.suffix == ".png":
        how = {"pnginfo": PngInfo()}
        how["pnginfo"].add_itxt("XML:com.adobe.xmp", text)
    elif where == "xmp":
        how = {"tiffinfo": {700: text.encode()}} if file.suffix == ".tif" else {"xmp": text.encode()}
    image.save(file, **how)
    file.with_suffix(".bmp").unlink()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("where", ["exif", "xmp"])
def test_an_image_is_turned_by_its_exif_and_by_nothing_else(
    tmp_path: Path, suffix: str, orientation: int, where: str
) -> None:
    root = make_dataset(tmp_path / "d")
    tagged(root / f"images/val/turned{suffix}", orientation, where)
    (root / "labels/val/turned.txt").write_text("0 .5 .5 .25 .5\n")
    report = the_same_everywhere(root, tmp_path)
    assert report["ok"], report["problems"]
