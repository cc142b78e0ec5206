"""Which input size a dataset's objects ask for."""

import math
from typing import Any

import pytest

from rdrkd.advice import imgsz_for
from rdrkd.data.figures import EDGES, of_split
from rdrkd.data.frames import Box
from rdrkd.run_warnings import EASY


def split(side: float, width: int, height: int, objects: int = 40) -> dict[str, Any]:
    boxes = [Box(label=0, x=0.0, y=0.0, width=side, height=side) for _ in range(objects)]
    return of_split(["car"], [(width, height)], [boxes], 0)


@pytest.mark.parametrize("long", [96, 640, 1920, 8000])
@pytest.mark.parametrize("side", [1, 5, 11, 40, 300])
def test_small_objects_ask_for_a_large_input_and_never_for_more_than_the_image_has(side: int, long: int) -> None:
    found = imgsz_for(split(side, long, long // 2))
    assert found is not None
    assert found.value % 32 == 0
    assert 32 <= found.value <= min(4096, max(32, math.ceil(long / 32) * 32))
    high = next((edge for edge in EDGES if edge > side), 2 * EDGES[-1])
    assert high * found.value / long >= EASY or found.value in (4096, math.ceil(long / 32) * 32)
    larger = imgsz_for(split(side * 2, long, long // 2))
    assert larger is not None
    assert larger.value <= found.value


def test_hopeless_objects_are_called_so() -> None:
    found = imgsz_for(split(1, 640, 512))
    assert found is not None
    assert "cut the images into tiles" in found.why


@pytest.mark.parametrize("statistics", [{}, split(5, 640, 512, objects=0)], ids=["unknown", "no_objects"])
def test_without_objects_there_is_no_advice(statistics: dict[str, Any]) -> None:
    assert imgsz_for(statistics) is None
