import copy

import pytest
import torch
from pydantic import ValidationError
from ultralytics.utils.tal import make_anchors

from rdrkd.distillation.distiller import Distiller
from rdrkd.distillation.heads import head_of
from rdrkd.errors import PairError
from rdrkd.models import build
from rdrkd.spec import Cwd, Distillation, Recipe, Responsive
from rdrkd.ultralytics_adapter import DetectionModel, branches
from tests.rdrkd.distillation.pairs import NAMES, batch, pair

TERMS = (Responsive(),)


def detector(architecture: str, seed: int) -> DetectionModel:
    """Build a detector whose boxes and scores vary over the image."""
    torch.manual_seed(seed)
    model = build(architecture, NAMES)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 3)
    model.args = pair().student_model.args
    return model


def distiller(teacher: DetectionModel, student: DetectionModel, **recipe: object) -> Distiller:
    return Distiller(teacher, student, Recipe(TERMS, assignment="teacher")._replace(**recipe)).train()


def task(made: Distiller) -> torch.Tensor:
    return made.loss(batch())[0][:3].detach()


def assigned(made: Distiller) -> dict[str, torch.Tensor]:
    """Return the target scores of a step, by branch."""
    found = {}
    shared = made._shared

    def keep(*arguments: object) -> object:
        found.update({name: each[1] for name, each in arguments[3].items()})  # type: ignore[attr-defined, index]
        return shared(*arguments)  # type: ignore[arg-type]

    made._shared = keep  # type: ignore[assignment, method-assign]
    made.loss(batch())
    return found


def by_hand(teacher: DetectionModel, made: Distiller) -> torch.Tensor:
    """Ask Ultralytics' assigner for what it makes of the teacher's one-to-many predictions."""
    data = batch()
    with torch.no_grad():
        raw = branches(copy.deepcopy(teacher).eval()(data["img"]))["one2many"]
    head = head_of(raw, teacher)
    points, strides = make_anchors(raw["feats"], teacher.stride, 0.5)
    criterion = made.student_model.criterion
    criterion = getattr(criterion, "one2many", criterion)
    size = data["img"].shape[2]
    targets = torch.cat([data["batch_idx"].view(-1, 1), data["cls"].view(-1, 1), data["bboxes"]], 1)
    targets = criterion.preprocess(targets, len(data["img"]), torch.full((4,), float(size)))
    labels, boxes = targets.split((1, 4), 2)
    return criterion.assigner(
        head.scores.transpose(1, 2).sigmoid(), head.boxes, points * strides, labels, boxes,
        boxes.sum(2, keepdim=True) > 0,
    )[2]  # fmt: skip


@pytest.mark.parametrize("student", ["yolov8n-half", "yolo26n"])
def test_labels_are_assigned_as_the_teachers_predictions_rank_the_anchors(student: str) -> None:
    teacher = detector("yolov8n", 1)
    made = distiller(teacher, detector(student, 2))
    scores = assigned(made)["one2many"]
    torch.testing.assert_close(scores, by_hand(teacher, made), rtol=1e-3, atol=1e-4)
    assert float(scores.sum()) > 0
    own = assigned(distiller(teacher, detector(student, 2), assignment="student"))["one2many"]
    assert not torch.allclose(scores, own, rtol=1e-3, atol=1e-4)


def test_a_dense_teacher_leaves_the_one_to_one_head_to_the_student() -> None:
    teacher, student = detector("yolov8n", 1), detector("yolo26n", 2)
    by_teacher = assigned(distiller(teacher, copy.deepcopy(student)))
    by_student = assigned(distiller(teacher, copy.deepcopy(student), assignment="student"))
    torch.testing.assert_close(by_teacher["one2one"], by_student["one2one"])


def test_an_end_to_end_teacher_assigns_in_both_heads() -> None:
    teacher, student = detector("yolo26n", 1), detector("yolo26n", 2)
    by_teacher = assigned(distiller(teacher, copy.deepcopy(student)))
    by_student = assigned(distiller(teacher, copy.deepcopy(student), assignment="student"))
    assert all(not torch.allclose(by_teacher[name], by_student[name]) for name in ("one2many", "one2one"))


def test_a_teacher_with_more_levels_assigns_on_the_students() -> None:
    made = distiller(detector("yolov8n-p2", 1), detector("yolov8n-half", 2), terms=(Cwd(),))
    scores = assigned(made)["one2many"]
    assert scores.shape[1] == sum((batch()["img"].shape[2] // stride) ** 2 for stride in (8, 16, 32))
    assert float(scores.sum()) > 0


def test_a_teacher_without_one_of_the_students_levels_is_refused() -> None:
    with pytest.raises(PairError, match="got one without stride 4"):
        distiller(detector("yolov8n", 1), detector("yolov8n-p2", 2))


@pytest.mark.parametrize("student", ["yolov8n-half", "yolo26n"])
def test_an_enlarged_teacher_assigns_to_the_students_anchors(student: str) -> None:
    scores = assigned(distiller(detector("yolov8n", 1), detector(student, 2), teacher_scale=2.0))["one2many"]
    assert float(scores.sum()) > 0


def test_the_student_assigns_while_the_schedule_is_at_zero_and_in_validation() -> None:
    teacher, student = detector("yolov8n", 1), detector("yolov8n-half", 2)
    plain = task(distiller(teacher, copy.deepcopy(student), assignment="student"))
    made = distiller(teacher, copy.deepcopy(student))
    assert not torch.allclose(task(made), plain)
    made.factor = 0.0
    torch.testing.assert_close(task(made), plain)
    made.factor = 1.0
    made.eval()
    expected = made.student_model.loss(batch(), made(batch()["img"]))[0]
    torch.testing.assert_close(made.loss(batch(), made(batch()["img"]))[0][:3], expected)


def test_without_terms_no_teacher_runs_and_none_can_assign() -> None:
    with pytest.raises(ValidationError, match="expected terms beside `assignment: teacher`"):
        Distillation.model_validate({"preset": "none", "assignment": "teacher"})
    assert Distillation.model_validate({"preset": "rdr-kd", "assignment": "teacher"}).recipe.assignment == "teacher"
    assert Distillation.model_validate({"preset": "none", "assignment": "student"}).recipe.assignment == "student"
