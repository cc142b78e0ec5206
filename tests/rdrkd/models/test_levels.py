import pytest
import torch

from rdrkd.errors import PairError
from rdrkd.models import build
from rdrkd.models.levels import find, forward, levels_of
from rdrkd.spec import ARCHITECTURES

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


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_has_the_paper_s_four_layers_in_neck_and_backbone(name: str) -> None:
    model = build(name, ["a", "b"])
    fpn, backbone = find(model, "fpn"), find(model, "backbone")
    assert {4, 8, 16, 32} <= fpn.keys() & backbone.keys()
    assert [fpn[int(stride)].layer for stride in model.stride] == list(model.model[-1].f)
    assert all(backbone[stride].layer < len(model.yaml["backbone"]) for stride in backbone)


def test_a_missing_level_is_refused() -> None:
    with pytest.raises(PairError, match=r"fpn map of stride 64 in the student, got \[4, 8, 16, 32\]"):
        levels_of(build("yolov8n-half", ["a"]), [("fpn", 64)], "student")


@pytest.mark.parametrize("name", ["yolov8n-half", "yolov8n-p2", "yolo11n", "yolo26n"])
@pytest.mark.parametrize("training", [True, False])
def test_the_pass_that_gives_maps_is_the_model_s_own(name: str, training: bool) -> None:
    model = build(name, ["a", "b"]).train(training)
    image = torch.rand(2, 3, 64, 64)
    seen: dict[int, torch.Tensor] = {}
    layers = {level.layer for level in find(model, "fpn").values()}
    for index in layers:
        model.model[index].register_forward_hook(lambda _m, _i, out, index=index: seen.__setitem__(index, out))
    expected = model(image)
    output, maps = forward(model, image, layers)
    assert maps.keys() == layers
    for index in layers:
        torch.testing.assert_close(maps[index], seen[index])
    torch.testing.assert_close(output, expected)
