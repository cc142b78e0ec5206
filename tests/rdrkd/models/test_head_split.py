import pytest
import torch
from torch import Tensor, nn

from rdrkd.models import build
from rdrkd.models.head_split import finish, stacks, widths
from rdrkd.models.levels import find, forward
from rdrkd.ultralytics_adapter import branches

FAMILIES = ["yolov8n-half", "yolov8n-p2", "yolo11n", "yolo26n"]
every_family = pytest.mark.parametrize("name", FAMILIES)
every_split = pytest.mark.parametrize("split", [1, 2])


def last_normalisation(stack: nn.Sequential, split: int) -> nn.Module:
    """The last batch normalisation before the cut, found by walking."""
    return [module for module in stack[split - 1].modules() if isinstance(module, nn.BatchNorm2d)][-1]


@every_family
@every_split
@pytest.mark.parametrize("training", [True, False])
def test_a_head_in_halves_predicts_what_it_predicts_whole(name: str, split: int, training: bool) -> None:
    model = build(name, ["a", "b"]).train(training)
    image = torch.rand(2, 3, 64, 64)
    seen: dict[tuple[str, str, int], Tensor] = {}
    for branch, of in stacks(model.model[-1]).items():
        for kind, levels in of.items():
            for index, stack in enumerate(levels):
                last_normalisation(stack, split).register_forward_hook(
                    lambda _m, _i, out, key=(branch, kind, index): seen.__setitem__(key, out.detach().clone())
                )
    expected = branches(model(image))
    output, maps = forward(model, image, [2], split)
    found = branches(output)
    assert found.keys() == expected.keys()
    for branch, prediction in found.items():
        for kind in ("boxes", "scores"):
            torch.testing.assert_close(prediction[kind], expected[branch][kind])
            for index, x in enumerate(prediction["hidden"][kind]):
                torch.testing.assert_close(x, seen[branch, kind, index])  # the activation has not run on it
        torch.testing.assert_close(prediction["feats"], expected[branch]["feats"])
    assert list(maps) == [2]


@every_family
@every_split
def test_widths_are_those_of_the_maps(name: str, split: int) -> None:
    model = build(name, ["a", "b"])
    output, _ = forward(model, torch.rand(1, 3, 64, 64), (), split)
    found = {
        branch: {kind: [x.shape[1] for x in levels] for kind, levels in prediction["hidden"].items()}
        for branch, prediction in branches(output).items()
    }
    assert widths(model.model[-1], split) == found


def test_the_one_to_one_branch_does_not_train_the_network_before_it() -> None:
    model = build("yolo26n", ["a"]).train()
    output, _ = forward(model, torch.rand(2, 3, 64, 64), (), 1)
    backbone = next(model.parameters())
    for branch, reaches in (("one2many", True), ("one2one", False)):
        total = sum(x.sum() for levels in output[branch]["hidden"].values() for x in levels)
        (gradient,) = torch.autograd.grad(total, [backbone], allow_unused=True, retain_graph=True)
        assert (gradient is not None) == reaches


def test_without_a_split_the_head_is_left_to_itself() -> None:
    model = build("yolov8n-half", ["a"]).eval()
    output, _ = forward(model, torch.rand(1, 3, 64, 64), [find(model, "fpn")[8].layer])
    assert isinstance(output, tuple)
    assert "hidden" not in branches(output)["one2many"]


@every_split
def test_a_fused_head_is_cut_after_its_convolution(split: int) -> None:
    torch.manual_seed(0)
    model = build("yolo11n", ["a", "b"]).eval()
    for module in model.modules():  # statistics that change something
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()  # type: ignore[union-attr, operator]
    image = torch.rand(1, 3, 64, 64)
    plain, _ = forward(model, image, (), split)
    fused, _ = forward(model.fuse(verbose=False), image, (), split)
    for kind in ("boxes", "scores"):
        torch.testing.assert_close(fused[kind], plain[kind], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(fused["hidden"][kind], plain["hidden"][kind], rtol=1e-3, atol=1e-4)


def test_the_rest_of_another_head_takes_the_maps_of_this_one() -> None:
    one, other = (build(name, ["a", "b"]) for name in ("yolov8n", "yolo11n"))  # training: in eval nothing gets through
    output, _ = forward(one, torch.rand(2, 3, 64, 64), (), 1)
    crossed = finish(other.model[-1], "one2many", output["hidden"], 1)
    assert crossed["boxes"].shape == output["boxes"].shape
    assert not torch.equal(crossed["scores"], output["scores"])
    own = finish(one.model[-1], "one2many", output["hidden"], 1)
    assert torch.equal(own["boxes"], output["boxes"])
    assert torch.equal(own["scores"], output["scores"])
