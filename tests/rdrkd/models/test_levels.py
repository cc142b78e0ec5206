import pytest
import torch

from rdrkd.errors import PairError
from rdrkd.models import build
from rdrkd.models.levels import captured, find, levels_of

# Layer indices and widths of Ultralytics 8.4.190 at nc = 10: (layer, channels) by stride.
_FPN = {
    "yolov8n": {4: (2, 32), 8: (15, 64), 16: (18, 128), 32: (21, 256)},
    "yolov8s": {4: (2, 64), 8: (15, 128), 16: (18, 256), 32: (21, 512)},
    "yolo11n": {4: (2, 64), 8: (16, 64), 16: (19, 128), 32: (22, 256)},
    "yolo26n": {4: (2, 64), 8: (16, 64), 16: (19, 128), 32: (22, 256)},
    "yolov8n-half": {4: (2, 16), 8: (15, 32), 16: (18, 64), 32: (21, 128)},
}


@pytest.mark.parametrize("name", sorted(_FPN))
def test_levels_are_found_from_the_model(name: str) -> None:
    assert find(build(name, ["a"] * 10), "fpn") == _FPN[name]


def test_a_p2_head_gives_its_own_stride_4_map() -> None:
    found = find(build("yolov8n-p2", ["a"]), "fpn")
    assert [(stride, level.layer) for stride, level in found.items()] == [(4, 18), (8, 21), (16, 24), (32, 27)]


def test_the_backbone_has_four_stages() -> None:
    found = find(build("yolov8n", ["a"]), "backbone")
    assert found == {4: (2, 32), 8: (4, 64), 16: (6, 128), 32: (9, 256)}


def test_a_missing_level_is_refused() -> None:
    with pytest.raises(PairError, match=r"fpn map of stride 64 in the student, got \[4, 8, 16, 32\]"):
        levels_of(build("yolov8n-half", ["a"]), [("fpn", 64)], "student")


def test_capturing_leaves_no_hook_behind() -> None:
    model = build("yolov8n-half", ["a"]).eval()
    levels = levels_of(model, [("fpn", 4), ("fpn", 32)], "student")
    with torch.no_grad(), captured(model, levels) as maps:
        model(torch.zeros(1, 3, 64, 64))
    assert {tap: tuple(value.shape) for tap, value in maps.items()} == {
        ("fpn", 4): (1, 16, 16, 16),
        ("fpn", 32): (1, 128, 2, 2),
    }
    assert not any(module._forward_hooks for module in model.modules())
