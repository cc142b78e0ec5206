"""Files of one name in different folders: each split, each label and each box stays with the image that it is of."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdrkd.data import open_dataset
from rdrkd.data.reading import Reading
from rdrkd.run.inspection import inspect
from rdrkd.spec.splitting import Split
from tests.rdrkd.data.crafted import make_image, zip_up

WIDTH, HEIGHT = 48, 40
Frames = dict[str, str | None]  # split of each image, by its place without suffix; None for one that no list names
FRAMES = st.dictionaries(
    st.tuples(st.sampled_from(["cam1", "cam2", "cam3"]), st.sampled_from(["0000", "0001"])).map("/".join),
    st.sampled_from(["train", "val", None]),
    min_size=3,
)


def mark(frames: Frames, name: str) -> int:
    """Return where the one box of an image begins, which tells it apart, px."""
    return 2 * sorted(frames).index(name)


def found(archive: Path, cache: Path, reading: Reading | None = None) -> dict[str, list[int]]:
    """Return the marks of each split, by the annotations that it is evaluated with."""
    dataset = open_dataset(archive, cache, reading=reading)
    documents = {split: json.loads(file.read_text()) for split, file in dataset.annotations.items()}
    for split, document in documents.items():
        assert len(document["images"]) == len(document["annotations"]) == len(dataset.images(split))
    return {s: sorted(round(a["bbox"][0]) for a in document["annotations"]) for s, document in documents.items()}


def expected(frames: Frames) -> dict[str, list[int]]:
    splits = {s: sorted(mark(frames, n) for n, of in frames.items() if of == s) for s in ("train", "val")}
    return {split: marks for split, marks in splits.items() if marks}


def xml(left: int, filename: str = "0000.png") -> str:
    corners = f"<xmin>{left + 1}</xmin><ymin>5</ymin><xmax>{left + 20}</xmax><ymax>30</ymax>"
    named = f"<filename>{filename}</filename>"
    return f"<annotation>{named}<object><name>car</name><bndbox>{corners}</bndbox></object></annotation>"


def devkit(root: Path, frames: Frames, form: str, lists: dict[str, str]) -> None:
    """Write VOC's folders, with folders of cameras in them, and lists of another tool or machine."""
    for seed, name in enumerate(frames):
        make_image(root / "JPEGImages" / f"{name}.png", WIDTH, HEIGHT, seed)
        file = root / "Annotations" / f"{name}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(xml(mark(frames, name)))
    (root / "ImageSets/Main").mkdir(parents=True)
    for split, called in lists.items():
        lines = [
            form.format(name.replace("/", "\\") if "\\" in form else name) for name, s in frames.items() if s == split
        ]
        (root / "ImageSets/Main" / called).write_text("\r\n".join(lines))


@pytest.mark.parametrize("lenient", [False, True])
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    frames=FRAMES,
    form=st.sampled_from(
        ["{}", "./{}.png", "JPEGImages/{}.jpg", ".\\JPEGImages\\{}.png", "C:\\x\\JPEGImages\\{}", "{} 1"]
    ),
    lists=st.sampled_from(
        [
            ("train.txt", "val.txt"),
            ("Train.txt", "Val.TXT"),
            ("training.txt", "valid.txt"),
            ("TRAIN.txt", "validation.txt"),
        ]
    ),
)
def test_lists_of_images_keep_folders_apart(
    tmp_path_factory: pytest.TempPathFactory, lenient: bool, frames: Frames, form: str, lists: tuple[str, str]
) -> None:
    frames = frames | {"cam1/0000": "train", "cam2/0000": "val"}
    folder = tmp_path_factory.mktemp("lists")
    devkit(folder / "d/VOC2012", frames, form, dict(zip(("train", "val"), lists, strict=True)))
    archive = zip_up(folder / "d", folder / "a.zip")
    assert found(archive, folder / "cache", Reading(lenient)) == expected(frames)


def test_a_list_of_train_and_val_together_leaves_val_out_of_train(tmp_path: Path) -> None:
    frames: Frames = {"cam1/0": "train", "cam1/1": "val", "cam2/0": "train", "cam2/1": "train"}
    devkit(tmp_path / "d", frames, "{}", {"val": "val.txt"})
    (tmp_path / "d/ImageSets/Main/trainval.txt").write_text("\n".join(frames))
    archive = zip_up(tmp_path / "d", tmp_path / "a.zip")
    assert found(archive, tmp_path / "cache") == expected(frames)
    (tmp_path / "d/ImageSets/Main/train.txt").write_text("cam1/0\ncam2/0\ncam2/1\n")  # as VOC has it
    assert found(zip_up(tmp_path / "d", tmp_path / "b.zip"), tmp_path / "cache") == expected(frames)


@pytest.mark.parametrize("entry", ["0000", "cam3/0000", "elsewhere\\0000.png"])
def test_an_entry_without_its_folder_or_of_another_is_never_an_image_of_that_name(tmp_path: Path, entry: str) -> None:
    frames: Frames = {"cam1/0000": "train", "cam2/0000": None, "cam2/0001": "train", "cam1/0001": "val"}
    devkit(tmp_path / "d", frames, "{}", {"train": "train.txt", "val": "val.txt"})
    with (tmp_path / "d/ImageSets/Main/val.txt").open("a") as file:
        file.write(f"\n{entry}")
    report = inspect(zip_up(tmp_path / "d", tmp_path / "a.zip"), tmp_path / "cache", Reading())
    if entry == "0000":
        assert report["problems"][0]["where"] == "ImageSets/Main/val.txt: 0000"
        assert "got one of 2: JPEGImages/cam1/0000.png, JPEGImages/cam2/0000.png" in report["problems"][0]["detail"]
    else:
        assert report["ok"], report["problems"]
        assert (
            f"ImageSets/Main/val.txt: 1 entries name no image with an XML file, such as {entry}" in report["warnings"]
        )
        assert report["statistics"]["splits"]["val"]["images"] == 1


@pytest.mark.parametrize("without", ["xml", "png"])
def test_an_annotation_is_never_that_of_another_cameras_image(tmp_path: Path, without: str) -> None:
    """`cam3` has lost its images, or its annotations; `cam2` has a frame of the same name without its own."""
    for beside in (True, False):
        root = tmp_path / f"d{beside}"
        for of in ("train", "val"):
            for camera, kinds in (("cam1", "xml png"), ("cam2", without), ("cam3", {"xml": "png"}.get(without, "xml"))):
                for kind in kinds.split():
                    place = root / of / ("" if beside else {"xml": "Annotations", "png": "JPEGImages"}[kind]) / camera
                    place.mkdir(parents=True, exist_ok=True)
                    make_image(place / "7.png", WIDTH, HEIGHT) if kind == "png" else (place / "7.xml").write_text(
                        xml(4)
                    )
            make_image(root / of / "cam2/8.png" if beside else root / of / "JPEGImages/cam2/8.png", WIDTH, HEIGHT)
            if beside:
                make_image(root / of / "cam3/8.png", WIDTH, HEIGHT)
        report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache", Reading())
        assert not report["ok"]
        assert all("expected an image of the name 7 in a folder alike" in p["detail"] for p in report["problems"])


def coco(root: Path, frames: Frames, named: Callable[[str], str], places: tuple[str, str], flat: bool) -> None:
    """Write a COCO JSON for each split, and images in folders of a split or in one."""
    for of, place in zip(("train", "val"), places, strict=True):
        names = [name for name, split in frames.items() if split == of]
        for name in names:
            make_image(root / ("images" if flat else f"{of}/images") / f"{name}.png", WIDTH, HEIGHT, mark(frames, name))
        document: dict[str, Any] = {
            "images": [
                {"id": i, "file_name": named(n) + ".png", "width": WIDTH, "height": HEIGHT} for i, n in enumerate(names)
            ],
            "categories": [{"id": 1, "name": "car"}],
            "annotations": [
                {"id": i, "image_id": i, "category_id": 1, "bbox": [mark(frames, n), 4, 20, 26]}
                for i, n in enumerate(names)
            ],
        }
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(json.dumps(document))


WRAPPERS = ["my-test-set", "train", "Validation 3", "a/test/b", "plain"]


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("flat", [True, False])
def test_a_folder_around_everything_names_no_split_of_coco(tmp_path: Path, wrapper: str, flat: bool) -> None:
    frames: Frames = {"cam1/0": "train", "cam2/1": "val", "cam2/2": "train"}
    places = ("annotations/train.json", "annotations/val.json")
    coco(tmp_path / "d" / wrapper, frames, lambda name: name[-1], places, flat)
    assert found(zip_up(tmp_path / "d", tmp_path / "a.zip"), tmp_path / "cache") == expected(frames)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_folder_around_everything_names_no_split_of_voc_and_visdrone(tmp_path: Path, wrapper: str) -> None:
    frames: Frames = {"x/0": "train", "x/1": "val"}
    for layout in ("voc", "visdrone"):
        root = tmp_path / layout / wrapper
        for name, of in frames.items():
            make_image(root / "images" / str(of) / f"{name}.png", WIDTH, HEIGHT)
            file = root / "annotations" / str(of) / f"{name}.{'xml' if layout == 'voc' else 'txt'}"
            file.parent.mkdir(parents=True)
            left = mark(frames, name)
            file.write_text(xml(left) if layout == "voc" else f"{left},4,20,26,1,4,0,0\n")
        assert found(zip_up(tmp_path / layout, tmp_path / f"{layout}.zip"), tmp_path / "cache") == expected(frames)


@pytest.mark.parametrize("wrapper", ["my-test-set", "val", "plain"])
@pytest.mark.parametrize("layout", ["voc", "visdrone"])
def test_an_owner_divides_what_lies_in_a_folder_named_like_a_split(tmp_path: Path, wrapper: str, layout: str) -> None:
    root = tmp_path / "d" / wrapper
    for seed in range(4):
        make_image(root / f"images/{seed}.png", WIDTH, HEIGHT, seed)
        file = root / "annotations" / f"{seed}.{'xml' if layout == 'voc' else 'txt'}"
        file.parent.mkdir(exist_ok=True)
        file.write_text(xml(4) if layout == "voc" else "4,4,20,26,1,4,0,0\n")
    archive = zip_up(tmp_path / "d", tmp_path / "a.zip")
    dataset = open_dataset(archive, tmp_path / "cache", reading=Reading(split=Split(val=0.25)))
    assert {split: len(images) for split, images in dataset.splits.items()} == {"train": 3, "val": 1}


def test_a_split_never_takes_an_image_of_another_that_has_its_name_and_folder(tmp_path: Path) -> None:
    frames: Frames = {"0": "train", "1": "val", "2": "val"}
    coco(tmp_path / "d", frames, lambda name: f"images/{name}", ("train.json", "val.json"), flat=False)
    (tmp_path / "d/val/images/1.png").rename(tmp_path / "d/train/images/1.png")
    report = inspect(zip_up(tmp_path / "d", tmp_path / "a.zip"), tmp_path / "cache", Reading())
    assert [(p["where"], p["detail"]) for p in report["problems"]] == [
        ("val.json: images/1.png", "expected an image of this name, got none")
    ]


def test_an_entry_of_another_folder_is_never_the_image_of_that_name(tmp_path: Path) -> None:
    frames: Frames = {"cam1/1": "train", "cam2/1": "train", "cam3/0": "train", "cam1/2": "val"}
    coco(tmp_path / "d", frames, str, ("train.json", "val.json"), flat=True)
    (tmp_path / "d/images/cam3/0.png").rename(tmp_path / "d/images/cam1/0.png")  # of which the JSON says nothing
    report = inspect(zip_up(tmp_path / "d", tmp_path / "a.zip"), tmp_path / "cache", Reading())
    assert [p["where"] for p in report["problems"]] == ["train.json: cam3/0.png"]
