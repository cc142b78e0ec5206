"""Evaluation on real images, or on drawn ones where those are not at hand."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from rdrkd.data import Dataset, open_dataset
from rdrkd.errors import DatasetError, PairError, StopRequested
from rdrkd.evaluation.evaluate import Collector, evaluate, figures, measure
from rdrkd.evaluation.ground_truth import LabelledImage, from_annotations, from_labels
from rdrkd.models import build, save_student
from rdrkd.reporter import Memory
from tests.rdrkd.data.crafted import make_dataset
from tests.rdrkd.datasets import tiny_dataset

IMGSZ = 160


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    return open_dataset(tiny_dataset(folder), folder / "cache")


@pytest.fixture(scope="module")
def weights(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_student(build("yolov8n-half", data.names), folder, {})
    return folder / "student.pt"


class Oracle(Collector):
    """The real validator with a detector that sees the labels: each box of the batch, in px of the network input."""

    def preprocess(self, batch: dict[str, Any]) -> dict[str, Any]:
        self.batch = super().preprocess(batch)
        return self.batch

    def postprocess(self, preds: Any) -> list[dict[str, torch.Tensor]]:
        found = []
        for i in range(len(self.batch["img"])):
            truth = self._prepare_batch(i, self.batch)
            boxes = truth["bboxes"].reshape(-1, 4)
            found.append({"bboxes": boxes, "conf": torch.ones(len(boxes)), "cls": truth["cls"], "extra": boxes[:, 4:]})
        return found


def oracle(data: Dataset, folder: Path, single_cls: bool = False) -> dict[str, Any]:
    data.write_yaml(folder / "data.yaml")
    names = ("item",) if single_cls else data.names
    validator = Oracle(folder, IMGSZ, 8, "val", "cpu", None, single_cls)
    own = validator(model=build("yolov8n-half", names))
    return figures(validator, own, data, "val", single_cls=single_cls)


def test_a_perfect_detector_has_hundred_percent_by_every_protocol(data: Dataset, tmp_path: Path) -> None:
    without_crowds = dataclasses.replace(data, annotations={})
    found = oracle(without_crowds, tmp_path)
    assert {v for v in found["coco"].values() if v is not None} == {100.0}
    assert found["ultralytics"]["mAP50_95"] > 99
    assert set(found["per_class"]) == set(data.names)
    points = found["operating_points"]
    assert points["usual"] == {"confidence": 0.25, "precision": 100.0, "recall": 100.0, "f1": 100.0}
    assert points["best_f1"]["f1"] == 100.0


def test_annotations_say_the_same_as_the_labels_they_stand_beside(data: Dataset, tmp_path: Path) -> None:
    assert "val" in data.annotations
    found = oracle(data, tmp_path)["coco"]
    # The labels are rounded shares of the image, so the tightest IoU thresholds may miss tiny boxes.
    assert found["AP50"] == 100.0
    assert found["AP"] > 98


def test_deep_images_are_evaluated_as_they_were_checked(tmp_path: Path) -> None:
    root, levels = make_dataset(tmp_path / "d"), np.linspace(7000, 7250, 64 * 48, dtype=np.uint16).reshape(48, 64)
    for split in ("train", "val"):
        cv2.imwrite(str(root / f"images/{split}/a.png"), levels)
    data, seen = open_dataset(root, tmp_path / "cache"), list[Collector]()
    measure(build("yolov8n-half", data.names), data, 64, 2, "val", "cpu", None, seen=seen.append)
    images = seen[0].dataloader.dataset
    (pixels, *_), (file,) = images.load_image(0), images.im_files
    assert np.array_equal(pixels, data.read(Path(file)))
    assert pixels.std() > 50


def test_one_class_for_all(data: Dataset, tmp_path: Path) -> None:
    found = oracle(data, tmp_path, single_cls=True)
    assert found["coco"]["AP50"] > 95
    assert list(found["per_class"]) == ["item"]


def test_evaluate_reports_progress_and_gives_every_figure(data: Dataset, weights: Path) -> None:
    reporter = Memory()
    found = evaluate(weights, data, IMGSZ, 8, "val", "cpu", reporter)
    assert set(found) == {"coco", "coco_maxdets500", "ultralytics", "operating_points", "per_class"}
    assert set(found["ultralytics"]) == {"mAP50_95", "mAP50", "precision", "recall"}
    assert all(0 <= figure <= 100 for figure in found["ultralytics"].values())
    assert [(e.completed, e.total) for e in reporter.of("progress")] == [(8, 16), (16, 16)]


def test_evaluate_stops_when_asked(data: Dataset, weights: Path) -> None:
    reporter = Memory()
    reporter.stop = True
    with pytest.raises(StopRequested):
        evaluate(weights, data, IMGSZ, 8, "val", "cpu", reporter)
    assert len(reporter.of("progress")) == 1, "after the first batch"


def test_other_class_names_are_refused(data: Dataset, tmp_path: Path) -> None:
    save_student(build("yolov8n-half", ["cat"]), tmp_path, {})
    with pytest.raises(PairError, match=r"expected a model of .*'person'.* got \['cat'\]"):
        evaluate(tmp_path / "student.pt", data, IMGSZ, 8, "val", "cpu")


def test_a_missing_split_is_refused(data: Dataset, weights: Path) -> None:
    with pytest.raises(DatasetError, match="the split test, got train and val"):
        evaluate(weights, data, IMGSZ, 8, "test", "cpu")


# -- ground truth


def image(path: str, *labels: tuple[int, float, float, float, float]) -> LabelledImage:
    classes = np.array([label[0] for label in labels], dtype=np.int64)
    boxes = np.array([label[1:] for label in labels], dtype=float).reshape(-1, 4)
    return LabelledImage(Path(path), height=100, width=200, classes=classes, boxes=boxes)


def write(folder: Path, **content: Any) -> Path:
    file = folder / "val.json"
    whole: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "b.jpg", "width": 200, "height": 100}],
        "categories": [{"id": 40, "name": "bus"}, {"id": 9, "name": "car"}],
        "annotations": [{"id": 0, "image_id": 7, "category_id": 40, "bbox": [1, 2, 3, 4], "area": 9}],
    }
    file.write_text(json.dumps(whole | content))
    return file


def test_labels_become_pixels() -> None:
    truth = from_labels([image("a.jpg"), image("b.jpg", (1, 0.5, 0.5, 0.25, 0.5))], ("car", "bus"))
    assert truth["annotations"] == [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [75.0, 25.0, 50.0, 50.0], "area": 2500.0, "iscrowd": 0}
    ]
    assert [entry["id"] for entry in truth["images"]] == [0, 1]


def test_annotations_are_matched_by_names(tmp_path: Path) -> None:
    images = [image("val/a.jpg"), image("val/b.jpg")]
    truth, notes = from_annotations(write(tmp_path), images, ("car", "bus"))
    assert truth["annotations"] == [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1.0, 2.0, 3.0, 4.0], "area": 9.0, "iscrowd": 0}
    ]
    assert [entry["id"] for entry in truth["images"]] == [1]
    assert notes == ["1 of 2 images are not in val.json and are left out of the COCO figures"]


def test_equal_file_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    size = {"width": 200, "height": 100}
    entries = [{"id": i, "file_name": f"{folder}/b.jpg", **size} for i, folder in enumerate(("day", "night"))]
    annotations = [{"image_id": 1, "category_id": 9, "bbox": [0, 0, 2, 3]}]
    file = write(tmp_path, images=entries, annotations=annotations)
    truth, notes = from_annotations(file, [image("/x/night/b.jpg"), image("/x/day/b.jpg")], ("car", "bus"))
    assert (truth["annotations"][0]["image_id"], truth["annotations"][0]["area"], notes) == (0, 6, [])


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    size = {"width": 200, "height": 100}
    more = [{"id": 7, "file_name": "b.jpg", **size}, {"id": 8, "file_name": "gone.jpg", **size}]
    _, notes = from_annotations(write(tmp_path, images=more), [image("val/b.jpg")], ("car", "bus"))
    assert notes == ["1 images of val.json are not in the split and are left out"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": [{"id": 7, "file_name": "b.jpg", "width": 640, "height": 480}]}, "1 images have another size"),
        ({"images": [{"id": 7, "file_name": "c.jpg", "width": 200, "height": 100}]}, "got none of them"),
        ({"images": [{"id": 7}]}, "a text `file_name`, got"),
        ({"annotations": [{"image_id": 7, "category_id": 40, "bbox": [1, 2, 3]}]}, "expected a bbox of"),
        ({"annotations": 5}, "expected COCO JSON with the lists"),
        ({"categories": [{"id": 1, "name": "bus"}, {"id": 2, "name": "DontCare"}]}, "the dataset's class names"),
    ],
)
def test_annotations_that_do_not_fit_are_refused(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        from_annotations(write(tmp_path, **content), [image("val/b.jpg")], ("car", "bus"))
