"""An invariant: one epoch of training sees exactly the images and boxes that the check has counted, however odd."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rdrkd.data import open_dataset
from rdrkd.data.check import examine
from rdrkd.data.reading import Reading
from rdrkd.reporter import Memory
from rdrkd.run.inspection import inspect
from rdrkd.spec import TrainSettings
from rdrkd.spec.splitting import Split
from rdrkd.training.plan import Plan
from rdrkd.training.trainer import Trainer
from tests.rdrkd.data import test_one_reader as odd
from tests.rdrkd.data import test_splitting as divided
from tests.rdrkd.data import test_voc as voc
from tests.rdrkd.data.crafted import YAML, make_dataset, make_image, zip_up

Make = Callable[[Path], object]
_OFF = ("mosaic", "mixup", "hsv_h", "hsv_s", "hsv_v", "translate", "scale", "fliplr", "flipud", "degrees", "shear")
_SMALL = {"epochs": 1, "imgsz": 64, "batch": 4, "nbs": 4, "workers": 0, "warmup_epochs": 0, "amp": False}
SETTINGS = TrainSettings.model_validate(_SMALL | dict.fromkeys(_OFF, 0))


def _pictures(name: str) -> Make:
    """Return what makes a dataset of which one image of each split is of an odd kind."""

    def make(root: Path) -> None:
        make_dataset(root, label=odd.LABELS)
        for split in ("train", "val"):
            odd.KINDS[name](root / "images" / split / name)
            (root / "labels" / split / name).with_suffix(".txt").write_text(odd.LABELS)

    return make


def _labels(text: str, yaml: str = YAML) -> Make:
    """Return what makes a dataset with these labels in one of its files."""

    def make(root: Path) -> None:
        make_dataset(root, yaml, odd.LABELS)
        for split in ("train", "val"):
            make_image(root / "images" / split / "b.png", 48, 40, 7)
            (root / "labels" / split / "b.txt").write_text(text)

    return make


def _coco(root: Path) -> None:
    """Write ids as text, flags in every form, an area of another thing and a root category."""
    categories = [
        {"id": 0, "name": "things", "supercategory": "none"}, {"id": "7", "name": "car", "supercategory": "things"},
    ]  # fmt: skip
    for split in ("train", "valid"):
        document: dict[str, Any] = {"images": [], "annotations": [], "categories": categories}
        for number in range(3):
            (root / split).mkdir(parents=True, exist_ok=True)
            image = Image.fromarray((odd.picture() + 40 * number) % 251)
            image.save(root / split / f"{number}.png")
            entry = {"id": str(number), "file_name": f"c:\\x\\{number}.png", "width": "48", "height": 40.0}
            document["images"].append(entry)
            for crowd, x in ((0, 4), ("0", 20), (False, 30), ("1", 2)):
                document["annotations"].append(
                    {"image_id": number, "category_id": 7.0, "bbox": [x, 8, 14, 12], "iscrowd": crowd, "area": 9e9}
                )
        (root / split / "_annotations.coco.json").write_text(json.dumps(document))


PICTURES = (
    "deep.png", "float.tif", "zstd.tiff", "turned.jpg", "turned.tif", "trailing.jpg", "cmyk.jpg", "bits.png",
)  # fmt: skip
ODD: dict[str, Make] = {
    **{f"image: {name}": _pictures(name) for name in PICTURES},
    "label: polygons": _labels("0 .1 .1 .4 .1 .4 .5 .1 .5\n1 .6 .6 .3 .3\n"),
    "label: repeated": _labels("0 .5 .5 .3 .3\n" * 3 + "1 .3 .3 .3 .3\n"),
    "label: byte order mark": _labels("\ufeff0 .5 .5 .3 .3\r\n1 .3 .3 .3 .3\r\n"),
    "label: empty": _labels(""),
    "layout: foreign path": _labels("0 .5 .5 .3 .3\n", YAML.replace("path: .", "path: C:\\data\\set")),
    "layout: unused test": _labels("1 .5 .5 .3 .3\n", YAML + "test: ../test/images\n"),
    "layout: coco": _coco,
    "layout: voc": lambda root: voc.devkit(root, voc.thing("van"), voc.thing("car", voc.box(20, 10, 40, 30), 1)),
    "divided: yolo": divided.yolo,
    "divided: coco": divided.coco,
    "divided: visdrone": divided.visdrone,
    "divided: voc": divided.voc,
}  # fmt: skip


class Recording(Trainer):
    """Keeps what the loader has yielded: each image's boxes, by its file."""

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        self.seen: dict[str, list[tuple[int, ...]]] = getattr(self, "seen", {})
        for index, file in enumerate(batch["im_file"]):
            mine = batch["batch_idx"] == index
            rows = zip(batch["cls"][mine].reshape(-1).tolist(), batch["bboxes"][mine].tolist(), strict=True)
            assert file not in self.seen, "once in an epoch"
            self.seen[file] = sorted((int(label), *_letterboxed(box)) for label, box in rows)
        return super().preprocess_batch(batch)


def _letterboxed(box: list[float]) -> tuple[int, ...]:
    return tuple(round(64 * value) for value in box)


@pytest.mark.slow  # twenty trainings: under a second each on an idle machine
@pytest.mark.parametrize("case", ODD)
def test_training_sees_what_the_check_has_counted(tmp_path: Path, case: str) -> None:
    ODD[case](tmp_path / "d")
    archive = zip_up(tmp_path / "d", tmp_path / "a.zip")
    split = Split(val=0.3) if case.startswith("divided") else None
    report = inspect(archive, tmp_path / "cache", Reading(split=split))
    assert report["ok"], report["problems"]
    dataset = open_dataset(archive, tmp_path / "cache", reading=Reading(split=split))
    dataset.write_yaml(tmp_path / "data.yaml")

    trainer = Recording(Plan("yolov8n-half", SETTINGS), tmp_path / "data.yaml", tmp_path / "run", Memory(), "cpu")
    trainer.train()

    counted = report["statistics"]["splits"]
    assert len(trainer.seen) == counted["train"]["images"]
    assert sum(map(len, trainer.seen.values())) == counted["train"]["boxes"]
    for one in examine(dataset, "train"):
        assert one.size is not None
        width, height = one.size
        side = 64 / max(width, height)
        edges = (64 - width * side) / 2, (64 - height * side) / 2  # of the letterbox
        for box, seen in zip(sorted(one.boxes, key=_order), trainer.seen[str(one.image)], strict=True):
            centre = (box.x + box.width / 2) * side + edges[0], (box.y + box.height / 2) * side + edges[1]
            expected = (box.label, *centre, box.width * side, box.height * side)
            assert seen == pytest.approx(expected, abs=1.01)
    validated = trainer.test_loader.dataset
    assert len(validated.im_files) == counted["val"]["images"]
    assert sum(len(label["cls"]) for label in validated.labels) == counted["val"]["boxes"]


def _order(box: Any) -> tuple[float, ...]:
    return box.label, box.x + box.width / 2, box.y + box.height / 2
