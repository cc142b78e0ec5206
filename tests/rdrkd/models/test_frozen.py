"""The teacher as a distillation runs it: what it predicts is what the model predicts."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from rdrkd.models import build
from rdrkd.models.frozen import frozen
from rdrkd.models.levels import find, forward
from rdrkd.models.packed import PackedConv
from rdrkd.ultralytics_adapter import DetectionModel, branches
from tests.rdrkd.lively import lively


def trained(name: str) -> DetectionModel:
    """A network whose normalisation has seen something."""
    torch.manual_seed(0)
    model = build(name, ["a", "b"])
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
    return model.eval()


def flat(output: Any) -> dict[str, torch.Tensor]:
    return {f"{branch}/{key}": of[key] for branch, of in branches(output).items() for key in ("boxes", "scores")}


@pytest.mark.parametrize("name", ["yolov8n-half", "yolov8n-p2", "yolo11n", "yolo26n"])
def test_it_predicts_what_the_model_predicts_in_every_branch_and_map(name: str) -> None:
    model = trained(name)
    before = copy.deepcopy(model.state_dict())
    layers = [level.layer for level in find(model, "fpn").values()]
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected, maps = forward(model, images, layers)
        found, found_maps = forward(frozen(model), images, layers, decode=False)
    assert flat(found).keys() == flat(expected).keys()
    for one, other in ((flat(found), flat(expected)), (found_maps, maps)):
        for key, value in one.items():
            torch.testing.assert_close(value, other[key], rtol=1e-3, atol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch is built without oneDNN")
def test_its_convolutions_activate_at_once_whatever_the_shape_and_carry_a_gradient_where_one_is_wanted() -> None:
    model = trained("yolo11n")
    twin = frozen(model)
    assert any(isinstance(layer, PackedConv) and layer.conv.groups > 1 for layer in twin.modules())  # depthwise, too
    for side in (64, 96, 64):  # multi-scale training changes the shape
        images = torch.rand(2, 3, side, side)
        with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as profiler:
            found = flat(forward(twin, images, decode=False)[0])
        names = {event.key for event in profiler.key_averages()}
        assert not names & {"aten::silu", "aten::silu_", "aten::conv2d"}
        expected = flat(forward(model, images, decode=False)[0])
        for key, value in found.items():
            torch.testing.assert_close(value, expected[key], rtol=1e-3, atol=1e-4)
    images.requires_grad_()
    flat(forward(copy.deepcopy(twin), images)[0])["one2many/scores"].sum().backward()
    assert images.grad is not None
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert flat(forward(twin, images, decode=False)[0])["one2many/scores"].dtype == torch.bfloat16
    assert flat(forward(pickle.loads(pickle.dumps(twin)), images)[0]).keys() == expected.keys()


def test_its_rounding_is_no_worse_than_that_of_the_model_by_an_order() -> None:
    torch.manual_seed(0)
    model, images = lively(build("yolo11n", ["a", "b"])).eval(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        exact = flat(forward(copy.deepcopy(model).double(), images.double(), decode=False)[0])
        found = flat(forward(frozen(model), images, decode=False)[0])
    assert all(float((found[key] - value).abs().max() / value.abs().max()) < 5e-5 for key, value in exact.items())


@pytest.mark.parametrize("name", ["yolov8n-half", "yolo26n"])
@pytest.mark.parametrize("training", [True, False])
def test_without_decoding_the_output_is_the_raw_predictions(name: str, training: bool) -> None:
    model, images = trained(name).train(training), torch.rand(2, 3, 64, 64)
    expected = flat(forward(copy.deepcopy(model), images)[0])
    found, _maps = forward(model, images, decode=False)
    assert isinstance(found, dict)
    assert flat(found).keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in flat(found).items())


def test_it_holds_no_normalisation_and_learns_nothing_even_of_a_frozen_one() -> None:
    for model in (trained("yolo26n"), frozen(trained("yolo26n"))):
        twin = copy.deepcopy(frozen(model))
        assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in twin.modules())
        assert not twin.training
        assert not any(parameter.requires_grad for parameter in twin.parameters())
        assert set(branches(forward(twin, torch.rand(1, 3, 64, 64))[0])) == {"one2many", "one2one"}
