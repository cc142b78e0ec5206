import pytest
import torch

from rdrkd.errors import ModelError
from rdrkd.models import build, name_of
from rdrkd.spec import ARCHITECTURES
from rdrkd.spec.references import NARROW


@pytest.mark.parametrize("name", ["yolov8n", "yolov8n-p2", "yolo11n", "yolo26n", NARROW])
def test_a_built_network_knows_its_name_and_its_classes(name: str) -> None:
    model = build(name, ["car", "bus"])
    assert name_of(model) == name
    assert model.names == {0: "car", 1: "bus"}
    assert model.model[-1].nc == 2


def test_names_of_the_allow_list_are_distinct_networks() -> None:
    assert len(set(ARCHITECTURES)) == len(ARCHITECTURES)


def test_the_narrow_student_is_half_as_wide() -> None:
    half, full = build(NARROW, ["a"]), build("yolov8n", ["a"])
    assert half.model[0].conv.out_channels * 2 == full.model[0].conv.out_channels


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ModelError, match=r"expected an architecture of .*, got 'resnet'"):
        build("resnet", ["a"])


def test_building_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    build("yolov8n", ["a"])
    assert torch.equal(torch.rand(3), expected)


def test_the_seed_decides_the_weights() -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return build(NARROW, ["a"]).model[0].conv.weight

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))
