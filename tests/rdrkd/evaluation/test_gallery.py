"""Which images show what a network misses, and that the shown boxes are the evaluation's own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rdrkd.data import Dataset
from rdrkd.evaluation.evaluate import evaluate
from rdrkd.evaluation.gallery import Gallery, truth_of
from rdrkd.evaluation.ground_truth import LabelledImage
from rdrkd.evaluation.misses import missed, worst

rng = np.random.default_rng(5)


def objects(sides: list[float]) -> np.ndarray:
    """Return objects of one class in a row, far apart."""
    return np.array([[0, 200.0 * place, 0, side, side] for place, side in enumerate(sides)]).reshape(-1, 5)


def found(truth: np.ndarray) -> np.ndarray:
    return np.column_stack([truth, np.linspace(0.9, 0.5, len(truth))])


def test_missed_small_objects_come_before_missed_large_ones() -> None:
    truths = [objects([100, 100, 100]), objects([10, 100]), objects([10, 10]), objects([]), objects([10, 10])]
    seen = [objects([]), objects([]), objects([]), objects([]), objects([10, 10])]
    assert worst(truths, [found(each) for each in seen], 4) == [2, 1, 0, 3]


def test_two_detections_do_not_find_one_object_twice() -> None:
    truth = objects([20, 20])
    twice = found(np.concatenate([truth[:1], truth[:1]]))
    assert missed(truth, twice) == [1]
    assert missed(truth, found(truth) + np.array([1, 0, 0, 0, 0, 0])) == [0, 1], "of another class"


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_detections_misses_the_same(seed: int) -> None:
    truth = np.column_stack([rng.integers(0, 2, 12), rng.uniform(0, 100, (12, 2)), rng.uniform(5, 40, (12, 2))])
    seen = np.column_stack([truth[:8] + rng.normal(0, 1, (8, 5)) * [0, 1, 1, 1, 1], rng.permutation(8) / 10])
    shuffled = seen[np.random.default_rng(seed).permutation(8)]
    assert missed(truth, seen) == missed(truth, shuffled)


def test_the_gallery_shows_what_the_evaluation_found(dataset: Dataset, teacher_path: Path, tmp_path: Path) -> None:
    gallery, ran = Gallery(), []
    evaluate(teacher_path, dataset, 96, 4, device="cpu", seen=ran.append)
    scores = ran[0].detections()[:, 5]
    confidence = float(np.quantile(scores, 0.9))
    gallery.add("student", ran[0], confidence)
    gallery.add("teacher", ran[0], 2.0)  # finds nothing from such a confidence on
    gallery.write(dataset.read, "val", dataset.names, tmp_path)
    told: dict[str, Any] = json.loads((tmp_path / "predictions.json").read_text())
    assert told["networks"] == {"student": {"confidence": confidence}, "teacher": {"confidence": 2.0}}
    assert len(told["images"]) == len(dataset.images("val"))
    assert sum(len(image["found"]["student"]) for image in told["images"]) == (scores >= confidence).sum()
    for image in told["images"]:
        assert (tmp_path / image["file"]).stat().st_size > 500
        assert image["found"]["teacher"] == []
        assert image["missed"]["teacher"] == list(range(len(image["truth"])))
        assert image["maps"] == []
    missed_boxes = [[image["truth"][place] for place in image["missed"]["student"]] for image in told["images"]]
    small = [sum(box[3] * box[4] < 32**2 for box in boxes) for boxes in missed_boxes]
    assert small == sorted(small, reverse=True)


def test_boxes_are_in_pixels_of_the_original_image() -> None:
    image = LabelledImage(Path("a.jpg"), 100, 200, np.array([3]), np.array([[0.5, 0.5, 0.1, 0.2]]))
    assert truth_of(image).tolist() == [[3, 90, 40, 20, 20]]
