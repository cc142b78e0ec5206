import pytest
import torch

from rdrkd.losses import build
from rdrkd.losses.foreground import foreground_of, target_and_rest
from rdrkd.spec import ClassTerm, Dkd, Nkd, Wsld
from tests.rdrkd.losses.contexts import WIDTHS, make_context, with_branch

NOBODY = torch.zeros(2, 126, dtype=torch.bool)


def test_taking_apart_by_hand() -> None:
    z = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    target, rest = target_and_rest(z, torch.tensor([2, 0]))
    assert target.tolist() == [3, 4]
    assert rest.tolist() == [[1, 2], [5, 6]]
    target, rest = target_and_rest(z[:, :1], torch.tensor([0, 0]))
    assert target.tolist() == [1, 4]
    assert rest.shape == (2, 0)


def test_every_foreground_anchor_keeps_its_logits_and_its_class() -> None:
    branch = make_context().branches[0]
    found = foreground_of(branch, Dkd())
    for n, (b, i) in enumerate(branch.foreground.nonzero().tolist()):
        assert found.teacher[n].tolist() == branch.teacher.scores[b, :, i].tolist()
        assert found.student[n].tolist() == branch.student.scores[b, :, i].tolist()
        assert found.labels[n] == branch.labels[b, i]
    assert found.share.tolist() == pytest.approx([1 / len(found.share)] * int(branch.foreground.sum()))


def test_the_constant_logit_comes_last_and_is_nobodys_class() -> None:
    found = foreground_of(make_context().branches[0], Dkd(constant_logit=True))
    for z in (found.teacher, found.student):
        assert z.shape[1] == 4
        assert z[:, 3].abs().max() == 0
    assert found.labels.max() < 3


def test_assigned_scores_weigh_and_their_sum_divides_at_least_by_one() -> None:
    branch = make_context().branches[0]
    scores = branch.target_scores.sum(2)[branch.foreground]
    shares = foreground_of(branch, Dkd(anchor_weight="assigned")).share
    assert shares.tolist() == pytest.approx((scores / scores.sum()).tolist())
    faint = with_branch(make_context(), target_scores=branch.target_scores * 1e-3 / scores.sum()).branches[0]
    assert foreground_of(faint, Dkd(anchor_weight="assigned")).share.sum().item() == pytest.approx(1e-3)


@pytest.mark.parametrize("anchor_weight", ["none", "assigned"])
def test_without_foreground_there_is_a_graph_and_no_anchor(anchor_weight: str) -> None:
    branch = with_branch(make_context(), foreground=NOBODY).branches[0]
    found = foreground_of(branch, Dkd(anchor_weight=anchor_weight))
    assert found.student.shape == (0, 3)
    assert found.student.requires_grad
    assert found.share.sum() == 0


@pytest.mark.parametrize("kind", [Dkd, Nkd, Wsld])
def test_only_foreground_anchors_count(kind: type[ClassTerm]) -> None:
    context = make_context()
    branch = context.branches[0]
    build(kind(), WIDTHS)(context).value.backward()
    gradient = branch.student.scores.grad
    assert gradient is not None
    assert gradient.transpose(1, 2)[~branch.foreground].abs().max() == 0
    assert gradient.transpose(1, 2)[branch.foreground].abs().max() > 0
    nobody = with_branch(make_context(), foreground=torch.zeros_like(branch.foreground))
    assert build(kind(), WIDTHS)(nobody).value.item() == 0
