"""What is said of two networks' predictions, worked by hand."""

import pytest
import torch
from torch import Tensor

from rdrkd.data import Dataset
from rdrkd.export import agreement
from rdrkd.export.agreement import compare, inputs, match, spread


def rows(*values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).reshape(-1, 6)


def test_the_same_detections_all_match_and_differ_in_nothing() -> None:
    found = rows((0, 0, 10, 10, 0.9, 0), (20, 20, 30, 30, 0.5, 1))
    told = match(found, found.clone())
    assert told == {"torch": 2, "exported": 2, "matched": 2, "max_box_px": 0.0, "max_score": 0.0}


def test_a_match_needs_the_class_and_half_of_the_overlap() -> None:
    wanted = rows((0, 0, 10, 10, 0.9, 0), (50, 50, 60, 60, 0.8, 0), (80, 80, 90, 90, 0.7, 0))
    # one px off and 0.1 less sure; of another class; a third of an overlap
    got = rows((1, 0, 11, 10, 0.8, 0), (50, 50, 60, 60, 0.8, 1), (85, 80, 95, 90, 0.7, 0))
    told = match(wanted, got)
    assert (told["torch"], told["exported"], told["matched"]) == (3, 3, 1)
    assert told["max_box_px"] == 1.0
    assert told["max_score"] == pytest.approx(0.1)


def test_one_detection_is_matched_once_and_with_its_best() -> None:
    wanted = rows((0, 0, 10, 10, 0.9, 0))
    got = rows((2, 0, 12, 10, 0.9, 0), (0, 0, 10, 10, 0.6, 0))
    told = match(wanted, got)
    assert (told["matched"], told["exported"]) == (1, 2)
    assert told["max_box_px"] == 0.0


def test_without_detections_nothing_is_said_of_their_differences() -> None:
    told = match(rows(), rows((0, 0, 1, 1, 0.5, 0)))
    assert told == {"torch": 0, "exported": 1, "matched": 0, "max_box_px": None, "max_score": None}


def test_raw_outputs_are_compared_by_boxes_and_scores_apart() -> None:
    torch.manual_seed(0)
    base = torch.cat([torch.rand(1, 4, 6) * 30 + 40, torch.rand(1, 2, 6)], 1)
    other = base.clone()
    other[0, 1, 2] += 2.5
    other[0, 5, 3] = (other[0, 5, 3] + 0.25) % 1
    images = [torch.zeros(1, 3, 96, 96)] * 2
    told = compare(lambda _: base, lambda _: other, images, conf=0.01)  # type: ignore[arg-type]
    assert told["images"] == 2
    assert told["boxes_px"] == {"max_abs": pytest.approx(2.5), "mean_abs": pytest.approx(2.5 / 24)}
    step = float((base - other).abs()[0, 4:].max())
    assert told["scores"] == {"max_abs": pytest.approx(step), "mean_abs": pytest.approx(step / 12)}


def test_images_of_one_batch_are_compared_each_by_itself() -> None:
    two = torch.cat([_one(), _one()])
    told = compare(lambda _: two, lambda _: two, [torch.zeros(2)], 0.3)  # type: ignore[arg-type]
    assert (told["images"], told["detections"]["matched"]) == (2, 2)


def test_images_are_spread_and_shown_as_networks_see_them(data: Dataset) -> None:
    files = data.images("val")
    assert spread(files, len(files) + 5) == files
    chosen = spread(files, 3)
    assert len(set(chosen)) == 3
    shown = list(inputs(map(data.read, chosen), 96, 96))
    assert {tuple(image.shape) for image in shown} == {(1, 3, 96, 96)}
    assert all(0 <= float(image.min()) <= float(image.max()) <= 1 for image in shown)
    assert not torch.equal(shown[0], shown[1])


def test_the_threshold_of_a_match_is_what_the_result_says() -> None:
    assert compare(lambda _: _one(), lambda _: _one(), [torch.zeros(1)], 0.3)["detections"] == {  # type: ignore[arg-type]
        "conf": 0.3, "iou": agreement.SAME_IOU, "torch": 1, "exported": 1, "matched": 1,
        "max_box_px": 0.0, "max_score": 0.0,
    }  # fmt: skip


def _one() -> Tensor:
    return torch.tensor([[[50.0], [50.0], [10.0], [10.0], [0.9], [0.1]]])
