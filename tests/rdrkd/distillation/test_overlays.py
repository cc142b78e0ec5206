"""The pictures of masks and weights lie where the objects are, at any shape of image, and are the losses' own."""

import base64
import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from rdrkd.distillation.overlays import Overlays
from rdrkd.models import build
from rdrkd.spec import Cwd, Decoupled, Recipe, Regenerated
from rdrkd.ultralytics_adapter import LetterBox

SIDE = 128  # px of the network input
RECIPE = Recipe(terms=(Regenerated(levels=(8, 16), tau_area=1e9), Decoupled(levels=(8,)), Cwd()))


def cells(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))[..., 3]


@pytest.mark.parametrize(("height", "width"), [(128, 128), (90, 160), (161, 67), (301, 640)])
def test_an_object_s_cells_are_marked_where_it_lies(height: int, width: int) -> None:
    torch.manual_seed(3)
    overlays = Overlays(build("yolov8n", ("car",)), RECIPE, SIDE, torch.device("cpu"))
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    x, y, w, h = width // 2, height // 3, width // 4, height // 4
    made = overlays(pixels, np.array([[0, x, y, w, h]], dtype=np.float64))
    assert [(one["term"], one["level"]) for one in made] == [
        ("regenerated", "P3"), ("regenerated", "P4"), ("decoupled", "P3"),
    ]  # fmt: skip
    weight = cells(made[2]["png"])
    assert weight.shape == (SIDE // 8, SIDE // 8)
    left, top, across, _ = made[2]["place"]
    cell = across / weight.shape[1]  # px of the image
    rows, columns = np.nonzero(weight)
    assert left + columns.min() * cell == pytest.approx(x, abs=1.1 * cell)
    assert left + (columns.max() + 1) * cell == pytest.approx(x + w, abs=1.1 * cell)
    assert top + rows.min() * cell == pytest.approx(y, abs=1.1 * cell)
    assert top + (rows.max() + 1) * cell == pytest.approx(y + h, abs=1.1 * cell)
    assert cells(made[0]["png"])[weight > 0].all(), "below tau_area every cell of the object is hidden"


@pytest.mark.parametrize(("height", "width"), [(90, 160), (161, 67), (301, 640), (97, 96)])
def test_the_margins_are_those_of_the_letterbox(height: int, width: int) -> None:
    from rdrkd.distillation.overlays import _letterboxed

    factor, left, top = _letterboxed(height, width, SIDE)
    white = LetterBox((SIDE, SIDE), auto=False)(image=np.full((height, width, 3), 255, dtype=np.uint8))
    rows, columns = np.nonzero(cv2.cvtColor(white, cv2.COLOR_BGR2GRAY) > 200)
    assert (columns.min(), rows.min()) == (left, top)
    assert columns.max() + 1 - left == pytest.approx(width * factor, abs=1)


def test_an_image_without_objects_has_no_weights() -> None:
    overlays = Overlays(build("yolov8n", ("car",)), Recipe(terms=(Decoupled(),)), SIDE, torch.device("cpu"))
    made = overlays(np.zeros((90, 160, 3), dtype=np.uint8), np.zeros((0, 5)))
    assert len(made) == 4
    assert not any(cells(one["png"]).any() for one in made)
