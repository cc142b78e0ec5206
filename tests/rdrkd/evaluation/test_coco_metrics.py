"""AP by the COCO protocol on constructed detections: worked by hand, and against slow loops."""

from typing import Any

import numpy as np
import pytest

from rdrkd.evaluation.coco_metrics import coco_metrics
from tests.rdrkd import slow_coco

NONE = dict.fromkeys(("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L"))


def truth(
    *objects: tuple[int, int, list[float]], images: int = 1, names: dict[int, str] | None = None, **more: Any
) -> Any:
    """Ground truth of (image id, category id, [x, y, w, h]) objects; `crowds`: indices of crowd regions."""
    crowds = more.get("crowds", ())
    return {
        "images": [{"id": i, "width": 1000, "height": 1000} for i in range(images)],
        "categories": [{"id": i, "name": name} for i, name in (names or {0: "car"}).items()],
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "bbox": b, "area": b[2] * b[3], "iscrowd": int(n - 1 in crowds)}
            for n, (i, c, b) in enumerate(objects, 1)
        ],
    }


def found(*rows: tuple[int, int, list[float], float]) -> np.ndarray:
    """Detections of (image id, category id, [x, y, w, h], score)."""
    return np.array([[i, *b, score, c] for i, c, b, score in rows], dtype=float).reshape(-1, 7)


def box(index: int, side: float = 20) -> list[float]:
    """Boxes that do not touch: 40 a row."""
    return [index % 40 * 25.0, index // 40 * 25.0, side, side]


def test_worked_by_hand() -> None:
    # Scores .9 hit, .8 miss, .7 hit of 2 objects: precision 1 up to recall .5 (51 points), then 2/3 (50 points).
    figures = coco_metrics(
        truth((0, 0, box(0)), (0, 0, box(1))), found((0, 0, box(0), 0.9), (0, 0, box(5), 0.8), (0, 0, box(1), 0.7))
    )
    by_hand = 100 * (51 + 50 * 2 / 3) / 101
    assert figures["coco"]["AP"] == pytest.approx(by_hand, abs=1e-3)
    assert figures["coco"]["AP_S"] == pytest.approx(by_hand, abs=1e-3)
    assert figures["coco"]["AP_M"] is None
    assert figures["per_class"] == {
        "car": {"AP": pytest.approx(by_hand, abs=1e-3), "AP50": pytest.approx(by_hand, abs=1e-3)}
    }


def test_a_loose_box_counts_up_to_its_own_iou() -> None:
    # IoU 80 x 100 / 100 x 100 = .8: right at .50, .55, .., .75 and .80 (7 of 10 thresholds).
    metrics = coco_metrics(truth((0, 0, [0, 0, 100, 100])), found((0, 0, [0, 0, 80, 100], 0.9)))
    assert metrics["per_class"] == {"car": {"AP": 70.0, "AP50": 100.0}}
    figures = metrics["coco"]
    assert (figures["AP"], figures["AP50"], figures["AP75"]) == (70.0, 100.0, 100.0)
    assert (figures["AP_S"], figures["AP_M"], figures["AP_L"]) == (None, None, 70.0)


def test_perfect_detections() -> None:
    sizes = [10, 50, 120]
    boxes = [[10.0 + 200 * k, 10.0, float(side), float(side)] for k, side in enumerate(sizes)]
    figures = coco_metrics(truth(*((0, 0, b) for b in boxes)), found(*((0, 0, b, 0.5) for b in boxes)))
    assert figures["coco"] == figures["coco_maxdets500"] == dict.fromkeys(NONE, 100.0)


def test_more_than_a_hundred_objects() -> None:
    objects = [(0, 0, box(i)) for i in range(150)]
    figures = coco_metrics(truth(*objects), found(*((i, c, b, 1 - n / 1000) for n, (i, c, b) in enumerate(objects))))
    # 100 of 150 found: recall 2/3, precision 1 at the recalls 0, .01, .., .66.
    assert figures["coco"]["AP"] == pytest.approx(100 * 67 / 101, abs=1e-3)
    assert figures["coco_maxdets500"]["AP"] == 100.0


def test_detections_in_a_crowd_are_not_counted() -> None:
    crowd = [500.0, 500.0, 300.0, 300.0]
    rows = [(0, 0, [520.0 + 30 * i, 520.0, 20.0, 20.0], 0.99) for i in range(8)]
    objects = ((0, 0, box(0)), (0, 0, crowd))
    hit = (0, 0, box(0), 0.5)
    assert coco_metrics(truth(*objects, crowds=(1,)), found(*rows, hit))["coco"]["AP"] == 100.0
    assert coco_metrics(truth(*objects), found(*rows, hit))["coco"]["AP"] < 20, "without the flag they are misses"


def test_a_crowd_region_alone_is_nothing_to_find() -> None:
    figures = coco_metrics(truth((0, 0, box(0)), crowds=(0,)), found((0, 0, box(0), 0.9)))
    assert figures["coco"] == NONE


def test_no_detections_and_no_objects() -> None:
    nothing = found()
    assert coco_metrics(truth((0, 0, box(0))), nothing)["coco"] == {
        "AP": 0.0, "AP50": 0.0, "AP75": 0.0, "AP_S": 0.0, "AP_M": None, "AP_L": None,
    }  # fmt: skip
    assert coco_metrics(truth(), found((0, 0, box(0), 0.9)))["coco"] == NONE
    assert coco_metrics(truth(), nothing) == {
        "coco": NONE, "coco_maxdets500": NONE, "per_class": {"car": {"AP": None, "AP50": None}},
    }  # fmt: skip


def test_categories_with_odd_ids_keep_their_names() -> None:
    names = {17: "van", 3: "bus", 90: "bicycle"}
    objects = [(0, 17, box(0)), (0, 3, box(1))]
    figures = coco_metrics(truth(*objects, names=names), found((0, 17, box(0), 0.9), (0, 90, box(1), 0.9)))
    assert figures["per_class"] == {
        "bus": {"AP": 0.0, "AP50": 0.0}, "van": {"AP": 100.0, "AP50": 100.0}, "bicycle": {"AP": None, "AP50": None},
    }  # fmt: skip
    assert figures["coco"]["AP"] == 50.0, "a class without objects has no part in the mean"


def test_the_ground_truth_is_left_as_it_was() -> None:
    ground = truth((0, 0, box(0)))
    before = str(ground)
    coco_metrics(ground, found((0, 0, box(0), 0.9)))
    assert str(ground) == before


@pytest.mark.parametrize("seed", range(4))
def test_against_slow_loops(seed: int) -> None:
    random = np.random.default_rng(seed)
    objects, rows = [], []
    for image in range(3):
        for _ in range(int(random.integers(0, 25))):
            place = [*random.uniform(0, 300, 2), *random.uniform(8, 140, 2)]
            category = int(random.choice([2, 5, 7]))
            objects.append((image, category, [float(v) for v in place]))
            for _ in range(int(random.integers(0, 3))):
                shaken = [float(v) for v in np.array(place) * random.uniform(0.9, 1.1, 4)]
                rows.append((image, category, shaken, float(random.uniform())))
        rows += [(image, 5, random.uniform(20, 200, 4).tolist(), float(random.uniform())) for _ in range(6)]
    crowds = tuple(int(i) for i in random.choice(len(objects), 4, replace=False))
    ground = truth(*objects, images=3, names={2: "a", 5: "b", 7: "c"}, crowds=crowds)
    figures = coco_metrics(ground, found(*rows))
    for key, most in (("coco", 100), ("coco_maxdets500", 500)):
        for name in NONE:
            area = name[-1] if name[-2] == "_" else "all"
            ious = {"AP50": [0.5], "AP75": [0.75]}.get(name, slow_coco.IOUS)
            expected = slow_coco.average_precision(ground, found(*rows).tolist(), area, ious, most)
            assert figures[key][name] == pytest.approx(expected, abs=1e-3), (key, name)
