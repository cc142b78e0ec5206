"""Small copies for people: no image is too thin, too long or too small to have one."""

import cv2
import numpy as np
import pytest

from rdrkd.data.jpeg import small_jpeg


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (640, 480, (64, 48)), (480, 640, (48, 64)), (64, 64, (64, 64)), (20, 10, (20, 10)), (1, 1, (1, 1)),
        (5000, 1, (64, 1)), (1, 5000, (1, 64)), (70_000, 2, (64, 1)),
    ],
)  # fmt: skip
def test_the_longer_side_is_bounded_and_the_shorter_one_stays(
    width: int, height: int, expected: tuple[int, int]
) -> None:
    encoded = small_jpeg(np.full((height, width, 3), 128, dtype=np.uint8), 64, 80)
    picture = cv2.imdecode(np.frombuffer(encoded, dtype=np.uint8), cv2.IMREAD_COLOR)
    assert (picture.shape[1], picture.shape[0]) == expected
