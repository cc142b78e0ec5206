"""The generation block in one with the adapter before it: the same values and gradients, at a lower price."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rdrkd.losses import Context, Unaligned, build
from rdrkd.losses.generation_block import Form, generation_block, rebuild
from rdrkd.spec import Amd, Mgd, Regenerated, Term
from tests.rdrkd.losses.contexts import make_context

WIDE = {4: 12, 8: 12, 16: 12, 32: 12}


def unaligned_context(bias: bool) -> tuple[Context, list[Tensor]]:
    """Return a batch whose student maps are made by 1x1 convolutions, with these and the maps before them."""
    context = make_context()
    random = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64).requires_grad_()

    before = {
        stride: Unaligned(x, normal(WIDE[stride], x.shape[1]), normal(WIDE[stride]) if bias else None)
        for stride, x in context.student.items()
    }
    teacher = {stride: normal(x.shape[0], WIDE[stride], *x.shape[2:]) for stride, x in context.teacher.items()}
    student = {
        stride: nn.functional.conv2d(each.map, each.weight[..., None, None], each.bias)
        for stride, each in before.items()
    }
    leaves = [x for each in before.values() for x in (each.map, each.weight, each.bias) if x is not None]
    return replace(context, teacher=teacher, student=student, unaligned=before), leaves


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(
    "term",
    [*(Regenerated(generation=form) for form in get_args(Form)), Regenerated(halve_p2=True), Mgd(), Amd()],
    ids=lambda term: " ".join(f"{value}" for value in [term.name, *term.model_dump(exclude_defaults=True).values()]),
)
def test_values_and_gradients_are_those_of_the_two_convolutions_in_a_row(term: Term, bias: bool) -> None:
    context, leaves = unaligned_context(bias)
    module = build(term, WIDE).double()
    leaves += module.parameters()
    found = []
    for each in (context, replace(context, unaligned={})):
        torch.manual_seed(0)  # of MGD's mask
        output = module(each)
        gradients = torch.autograd.grad(output.value, leaves, retain_graph=True, allow_unused=True)  # not of P2
        found.append([output.value, *gradients])
    for one, other in zip(*found, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def work(form: Form, side: int, wide: int, narrow: int) -> tuple[int, int]:
    """Count the operations of a block forward and backward, with and without the map before the adapter."""
    block, x = generation_block(wide, form=form), torch.randn(2, narrow, side, side, requires_grad=True)
    adapter, mask = nn.Conv2d(narrow, wide, 1), (torch.rand(2, 1, side, side) > 0.5).float()
    counts = []
    for before in (Unaligned(x, adapter.weight.flatten(1), adapter.bias), None):
        with FlopCounterMode(display=False) as counter:
            rebuild(block, adapter(x), mask, before).sum().backward()
        counts.append(counter.get_total_flops())
    return counts[0], counts[1]


@pytest.mark.parametrize("form", ["full", "half", "bottleneck"])
def test_it_costs_less_where_maps_are_large_and_never_more(form: Form) -> None:
    large, direct = work(form, side=40, wide=64, narrow=16)
    assert large < 0.75 * direct
    for side, wide, narrow in ((40, 64, 64), (5, 128, 64), (20, 64, 32)):  # no narrower; small; between
        cost, direct = work(form, side, wide, narrow)
        assert cost <= direct


def test_a_separable_block_has_no_convolution_across_channels_to_join() -> None:
    cost, direct = work("separable", side=40, wide=64, narrow=16)
    assert cost == direct
