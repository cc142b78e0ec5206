from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from rdrkd.losses import build
from rdrkd.losses.ultralytics import score_weighted_loss
from rdrkd.spec import Ultralytics
from rdrkd.ultralytics_adapter import DistillationModel
from tests.rdrkd.losses.contexts import ANCHORS, IMGSZ, WIDTHS, make_context


def test_by_hand() -> None:
    teacher = torch.tensor([[[[1.0, 4.0]], [[0.0, 2.0]]]])  # one image, two channels, two cells
    student = torch.zeros_like(teacher)
    confidence = torch.tensor([[[0.5, 0.25]]])
    # (0.5 (1 + 0) + 0.25 (16 + 4)) / (2 x 0.75)
    assert score_weighted_loss(teacher, student, confidence).item() == pytest.approx(5.5 / 1.5)


def test_it_is_what_ultralytics_computes() -> None:
    """Its own function, on the same maps and scores."""
    context = make_context()
    builtin = SimpleNamespace()
    expected = 0.0
    for index, (stride, part) in enumerate(ANCHORS.items()):
        scores = context.teacher_scores[:, :, part].sigmoid().max(dim=1, keepdim=True).values
        given = {"student_feat": context.student[stride], "teacher_feat": context.teacher[stride]}
        expected += DistillationModel.loss_sl2(builtin, **given, feat_idx=index, teacher_scores={index: scores}).item()
    assert build(Ultralytics(), WIDTHS)(context).value.item() == pytest.approx(expected, rel=1e-9)


def test_the_term_agrees_with_the_slow_reference() -> None:
    context = make_context()
    expected = 0.0
    for stride, part in ANCHORS.items():
        teacher, student = context.teacher[stride], context.student[stride]
        top = total = 0.0
        for b in range(2):
            for i in range(IMGSZ[0] // stride):
                for j in range(IMGSZ[1] // stride):
                    anchor = part.start + i * (IMGSZ[1] // stride) + j
                    q = float(context.teacher_scores[b, :, anchor].detach().sigmoid().max())
                    top += q * float((teacher[b, :, i, j] - student[b, :, i, j]).detach().square().sum())
                    total += q
        expected += top / (teacher.shape[1] * total)
    assert build(Ultralytics(), WIDTHS)(context).value.item() == pytest.approx(expected, rel=1e-7)


def test_gradcheck() -> None:
    teacher, confidence = torch.randn(2, 3, 2, 2, dtype=torch.float64), torch.rand(2, 2, 2, dtype=torch.float64)

    def loss(student: Tensor) -> Tensor:
        return score_weighted_loss(teacher, student, confidence)

    assert torch.autograd.gradcheck(loss, (torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True),))
