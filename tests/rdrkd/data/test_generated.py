"""Generated datasets in every layout: what is checked, trained on and evaluated is what was meant, object by object."""

import json
import math
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from rdrkd.data import open_dataset
from rdrkd.data.check import examine
from rdrkd.data.reading import Reading
from rdrkd.run.inspection import inspect
from tests.rdrkd.data.crafted import zip_up
from tests.rdrkd.data.loading import load, truth

WIDTH, HEIGHT = 48, 40  # as displayed, px
NAMES = ("car", "truck", "van")
VISDRONE = {"car": 4, "van": 5, "truck": 6}
NUMBERS: list[Callable[[int], Any]] = [int, float, str, lambda v: f" {v}", lambda v: f"{v}.0"]


@dataclass(frozen=True)
class Thing:
    """One object as it is meant: class, box in px, whether it is a crowd, and its own area."""

    label: int
    x: int
    y: int
    width: int
    height: int
    crowd: bool = False
    area: int | None = None


@dataclass(frozen=True)
class Shot:
    """One image as it is meant: name without suffix, how it is stored, and its objects."""

    stem: str
    stored: str
    things: tuple[Thing, ...]

    @property
    def name(self) -> str:
        return self.stem + "." + self.stored.partition(" ")[0]


def _pixels(seed: int) -> Image.Image:
    across, down = np.meshgrid(np.linspace(0, 200, WIDTH), np.linspace(0, 255, HEIGHT))
    return Image.fromarray(np.stack([across, down, np.full_like(down, 40.0 * seed)], -1).astype(np.uint8))


def _turned(image: Image.Image, file: Path, orientation: int, **how: Any) -> None:
    """Store an image so that a viewer which heeds its orientation shows it as it is."""
    back = {1: [], 3: [Image.Transpose.ROTATE_180], 6: [Image.Transpose.ROTATE_90], 8: [Image.Transpose.ROTATE_270]}
    for transpose in back[orientation]:
        image = image.transpose(transpose)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(file, exif=exif, **how)


STORED: dict[str, Callable[[Image.Image, Path], object]] = {
    "png": lambda image, file: image.save(file),
    "png palette": lambda image, file: image.quantize(64).save(file),
    "png grey": lambda image, file: image.convert("L").save(file),
    "png alpha": lambda image, file: image.convert("RGBA").save(file),
    "bmp": lambda image, file: image.save(file),
    "tif lzw": lambda image, file: image.save(file, compression="tiff_lzw"),
    "tiff deflate": lambda image, file: image.save(file, compression="tiff_adobe_deflate"),
    "webp lossless": lambda image, file: image.save(file, lossless=True),
    "jpg": lambda image, file: image.save(file, quality=95),
    "jpg upside down": lambda image, file: _turned(image, file, 3, quality=95),
    "jpg turned right": lambda image, file: _turned(image, file, 6, quality=95),
    "jpeg turned left": lambda image, file: _turned(image, file, 8, quality=95),
    "jpg with more behind": lambda image, file: (
        image.save(file, quality=95),
        file.write_bytes(file.read_bytes() + b"\0\xff" * 9),
    ),
}
STEMS = st.sampled_from(["a", "IMG_0001", "cafe\u0301", "über 7", "x.y", "-1", "ж", "0" * 40])
BOXES = st.tuples(st.integers(0, WIDTH - 8), st.integers(0, HEIGHT - 8), st.integers(3, 48), st.integers(3, 40))


@st.composite
def things(draw: Any) -> tuple[Thing, ...]:
    """Draw objects at different places, since equal lines count once."""
    boxes = draw(st.lists(BOXES, max_size=4, unique_by=lambda box: box[:2]))
    found = []
    for x, y, width, height in boxes:
        width, height = min(width, WIDTH - x), min(height, HEIGHT - y)
        area = draw(st.none() | st.integers(1, width * height))  # that of a mask within the box
        found.append(Thing(draw(st.integers(0, 2)), x, y, width, height, draw(st.booleans()) and width > 20, area))
    return tuple(found)


SHOT = st.builds(Shot, STEMS, st.sampled_from(sorted(STORED)), things())
SPLIT = st.lists(SHOT, min_size=1, max_size=3, unique_by=lambda shot: unicodedata.normalize("NFC", shot.stem))


def _images(folder: Path, shots: list[Shot]) -> None:
    folder.mkdir(parents=True)
    for number, shot in enumerate(shots):
        STORED[shot.stored](_pixels(number), folder / shot.name)


def as_yolo(root: Path, split: str, shots: list[Shot], _form: Any) -> None:
    """Write label lines; a crowd cannot be told."""
    (root / "labels" / split).mkdir(parents=True)
    _images(root / "images" / split, shots)
    for shot in shots:
        lines = [
            f"{t.label} {(t.x + t.width / 2) / WIDTH} {(t.y + t.height / 2) / HEIGHT} {t.width / WIDTH} "
            f"{t.height / HEIGHT}"
            for t in shot.things
        ]
        (root / "labels" / split / f"{shot.stem}.txt").write_text("\n".join(lines))
    (root / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: {list(NAMES)}\n")


def _document(shots: list[Shot], form: Callable[[int], Any]) -> dict[str, Any]:
    return {
        "images": [
            # As a Mac may write it: another composition than the file's.
            {"id": form(i), "file_name": unicodedata.normalize("NFC", s.name), "width": form(WIDTH), "height": HEIGHT}
            for i, s in enumerate(shots)
        ],
        "categories": [{"id": form(3 + label), "name": name} for label, name in enumerate(NAMES)],
        "annotations": [
            {
                "id": form(10 * i + k),
                "image_id": form(i),
                "category_id": form(3 + t.label),
                "bbox": [form(t.x), t.y, t.width, form(t.height)],
                "iscrowd": form(int(t.crowd)),
                "area": t.area,
            }
            for i, shot in enumerate(shots)
            for k, t in enumerate(shot.things)
        ],
    }


def as_coco(root: Path, split: str, shots: list[Shot], form: Any) -> None:
    """Write COCO's own folders, numbers in any form."""
    _images(root / f"{split}2017", shots)
    (root / "annotations").mkdir(exist_ok=True)
    file = root / "annotations" / f"instances_{split}2017.json"
    file.write_text(json.dumps(_document(shots, form)))


def as_roboflow(root: Path, split: str, shots: list[Shot], form: Any) -> None:
    """Write Roboflow's folders, the annotations beside the images."""
    folder = root / {"val": "valid"}.get(split, split)
    _images(folder, shots)
    (folder / "_annotations.coco.json").write_text(json.dumps(_document(shots, form)))


def as_visdrone(root: Path, split: str, shots: list[Shot], _form: Any) -> None:
    """Write VisDrone's lines; a crowd is an ignored one of its class (score 0)."""
    base = root / f"VisDrone2019-DET-{split}"
    _images(base / "images", shots)
    (base / "annotations").mkdir()
    for shot in shots:
        lines = [
            f"{t.x},{t.y},{t.width},{t.height},{int(not t.crowd)},{VISDRONE[NAMES[t.label]]},0,0" for t in shot.things
        ]
        (base / "annotations" / f"{shot.stem}.txt").write_text("\n".join(lines))


def as_voc(root: Path, split: str, shots: list[Shot], _form: Any) -> None:
    """Write Pascal VOC's files; its pixels count from 1 and include the last; a crowd is `difficult`."""
    base = root / "VOCdevkit/VOC2012"
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    for number, shot in enumerate(shots):
        STORED[shot.stored](_pixels(number), base / "JPEGImages" / f"{split}_{shot.name}")
        objects = "".join(
            f"<object><name>{NAMES[t.label]}</name><difficult>{int(t.crowd)}</difficult><bndbox><xmin>{t.x + 1}</xmin>"
            f"<ymin>{t.y + 1}</ymin><xmax>{t.x + t.width}</xmax><ymax>{t.y + t.height}</ymax></bndbox></object>"
            for t in shot.things
        )
        text = f"<annotation><filename>{split}_{shot.name}</filename>{objects}</annotation>"
        (base / "Annotations" / f"{split}_{shot.stem}.xml").write_text(text)
    names = unicodedata.normalize("NFC", "".join(f"{split}_{shot.name}\n" for shot in shots))
    (base / f"ImageSets/Main/{split}.txt").write_text(names)


LAYOUTS = {"yolo": as_yolo, "coco": as_coco, "roboflow": as_roboflow, "visdrone": as_visdrone, "voc": as_voc}
Box = tuple[int, int, int, int, int]  # label, x, y, width, height


def meant(layout: str, names: tuple[str, ...], shots: list[Shot], crowds: bool) -> list[list[Box]]:
    """Return the slow reference: the objects of each image, crowds with the others or without."""
    tells = layout != "yolo"
    return sorted(
        sorted(
            (names.index(NAMES[t.label]), t.x, t.y, t.width, t.height)
            for t in shot.things
            if crowds or not (t.crowd and tells)
        )
        for shot in shots
    )


def whole(label: Any, *box: float) -> Box:
    """Return a box in whole px, to which it must be close."""
    near = [round(float(value)) for value in box]
    assert all(math.isclose(value, close, abs_tol=2e-3) for value, close in zip(box, near, strict=True)), box
    x, y, width, height = near
    return int(label), x, y, width, height


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(train=SPLIT, val=SPLIT, form=st.sampled_from(NUMBERS), lenient=st.booleans())
def test_what_was_meant_is_checked_trained_on_and_evaluated(
    tmp_path_factory: pytest.TempPathFactory, layout: str, train: Any, val: Any, form: Any, lenient: bool
) -> None:
    folder, splits = tmp_path_factory.mktemp("generated"), {"train": train, "val": val}
    for shots in splits.values():  # a split without objects is refused, and a class is there if one has it
        shots.append(Shot("every class", "png", tuple(Thing(label, 12 * label, 1, 9, 9) for label in range(3))))
    for split, shots in splits.items():
        LAYOUTS[layout](folder / "d", split, shots, form)
    archive, reading = zip_up(folder / "d", folder / "a.zip"), Reading(lenient)

    report = inspect(archive, folder / "cache", reading)
    assert report["ok"], report["problems"]
    assert report.get("dropped", {}).get("counts", {}) in ({}, None)
    dataset = open_dataset(archive, folder / "cache", reading=reading)
    for split, shots in splits.items():
        objects = meant(layout, dataset.names, shots, crowds=False)
        counted = report["statistics"]["splits"][split]
        assert (counted["images"], counted["boxes"]) == (len(shots), sum(map(len, objects)))

        examined = list(examine(dataset, split))
        assert objects == sorted(
            sorted(whole(b.label, b.x, b.y, b.width, b.height) for b in one.boxes) for one in examined
        )
        loaded = load(dataset, split, folder / "run")
        scale = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
        trained = []
        for label in loaded.labels:
            centred = label["bboxes"] * scale
            corners = np.concatenate([centred[:, :2] - centred[:, 2:] / 2, centred[:, 2:]], 1)
            trained.append(sorted(whole(c[0], *box) for c, box in zip(label["cls"], corners, strict=True)))
        assert objects == sorted(trained)
        for index, file in enumerate(loaded.im_files):
            with Image.open(file) as image:
                shown = ImageOps.exif_transpose(image).convert("RGB")
            pixels, _, (height, width) = loaded.load_image(index)
            apart = np.abs(np.asarray(shown.resize((width, height)), np.int16)[..., ::-1] - pixels)
            assert apart.mean() < 12, "turned, mirrored or in other colours"  # a palette of 64 is apart by 5

        if split in dataset.annotations:
            judged: dict[Any, list[Box]] = {image["id"]: [] for image in truth(dataset, split)["images"]}
            crowds, areas = 0, list[int]()
            for a in truth(dataset, split)["annotations"]:
                judged[a["image_id"]].append(whole(a["category_id"], *a["bbox"]))
                areas.append(round(a["area"]))
                crowds += a["iscrowd"]
            assert meant(layout, dataset.names, shots, crowds=True) == sorted(map(sorted, judged.values()))
            every = [t for shot in shots for t in shot.things]
            assert crowds == sum(t.crowd for t in every)
            own = layout in ("coco", "roboflow")
            assert sorted(areas) == sorted((own and t.area) or t.width * t.height for t in every)
