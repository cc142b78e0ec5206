import copy

import pytest
import torch
from pydantic import ValidationError

from rdrkd.distillation.distiller import Distiller
from rdrkd.distillation.enlarged_teacher import enlarge, enlarged, resample, resample_head
from rdrkd.losses import Head
from rdrkd.spec import Distillation, Recipe
from tests.rdrkd.distillation.pairs import ALL, batch, pair


def head(scores: torch.Tensor, boxes: torch.Tensor) -> Head:
    return Head(scores, boxes, sides=torch.zeros(*boxes.shape, 16))


def squares(*sides: int) -> list[tuple[int, int]]:
    return [(side, side) for side in sides]


def test_boxes_come_back_in_px_of_the_students_input_and_levels_stay_apart() -> None:
    teacher, student = squares(8, 4), squares(4, 2)  # 64 px in place of 32, strides 8 and 16
    levels = [1.0] * 64 + [5.0] * 16
    scores = torch.tensor(levels).expand(1, 3, 80)
    boxes = torch.tensor([20.0, 40.0, 60.0, 80.0]).expand(1, 80, 4)
    made = resample_head(head(scores, boxes), teacher, student, (32, 32), (64, 64))
    torch.testing.assert_close(made.scores, torch.tensor([1.0] * 16 + [5.0] * 4).expand(1, 3, 20))
    torch.testing.assert_close(made.boxes, torch.tensor([10.0, 20.0, 30.0, 40.0]).expand(1, 20, 4))
    assert made.sides is None


def test_what_lies_where_stays_there() -> None:
    # A teacher's score at its cell (row 5, column 2) of 8 x 8 belongs to the student's cell (2, 1) of 4 x 4.
    scores = torch.zeros(1, 1, 8, 8)
    scores[0, 0, 5, 2] = 1.0
    made = resample_head(
        head(scores.flatten(2), torch.zeros(1, 64, 4)), squares(8), squares(4), (32, 32), (64, 64)
    ).scores.view(4, 4)
    assert divmod(int(made.argmax()), 4) == (2, 1)


def test_a_map_of_the_right_size_stays_as_it_is() -> None:
    x = torch.rand(1, 2, 5, 7, dtype=torch.bfloat16)
    assert resample(x, (5, 7)) is x
    assert resample(x, (4, 4)).dtype == torch.float32
    torch.testing.assert_close(resample(torch.full((1, 2, 10, 10), 3.0), (8, 8)), torch.full((1, 2, 8, 8), 3.0))


@pytest.mark.parametrize(("side", "scale", "larger"), [(256, 1.25, 320), (64, 1.2, 64), (64, 1.5, 96), (640, 4, 2560)])
def test_the_teachers_input_has_sides_that_its_strides_divide(side: int, scale: float, larger: int) -> None:
    assert enlarged(side, scale) == larger


def test_enlarged_images_keep_their_bounds_and_their_content() -> None:
    images = torch.zeros(1, 3, 64, 32)
    images[:, :, :32] = 1.0
    made = enlarge(images, 2)
    assert made.shape == (1, 3, 128, 64)
    assert 0 <= float(made.min()) <= float(made.max()) <= 1
    torch.testing.assert_close(made.mean(), images.mean(), atol=1e-3, rtol=0)
    assert enlarge(images, 1) is images


def scaled(scale: float) -> Distiller:
    distiller = pair()
    made = Distiller(
        copy.deepcopy(distiller.teacher_model), distiller.student_model, Recipe(ALL, teacher_scale=scale)
    ).train()
    made.projector.load_state_dict(distiller.projector.state_dict())
    return made


@pytest.mark.slow
def test_an_input_that_rounds_to_the_same_size_changes_nothing() -> None:
    torch.manual_seed(3)
    plain = scaled(1).loss(batch())[1]
    torch.manual_seed(3)
    rounded = scaled(1.2).loss(batch())[1]
    for name in (term.name for term in ALL):
        torch.testing.assert_close(rounded[name], plain[name], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_every_term_works_with_an_enlarged_teacher_and_reaches_the_student() -> None:
    distiller, plain = scaled(2), scaled(1)
    parts, items = distiller.loss(batch())
    parts.sum().backward()
    assert parts.isfinite().all()
    others = plain.loss(batch())[1]
    for term in ALL:
        assert float(items[term.name]) > 0
        assert float(items[term.name]) != float(others[term.name])
    assert all(p.grad is None for p in distiller.teacher_model.parameters())
    assert all(p.grad is not None for p in distiller.projector.parameters())


@pytest.mark.parametrize("preset", ["crosskd", "ld"])
def test_terms_that_compare_the_insides_of_heads_are_refused(preset: str) -> None:
    with pytest.raises(ValidationError, match=f"expected teacher_scale without {preset}"):
        Distillation.model_validate({"preset": preset, "teacher_scale": 1.5})
    assert Distillation.model_validate({"preset": preset, "teacher_scale": 1}).recipe.teacher_scale == 1
