import pytest

from rdrkd.errors import PairError
from rdrkd.models import LoadedModel, build
from rdrkd.models.pairs import check_pair
from rdrkd.spec import Crosskd, Dkd, Ld, Regenerated, Responsive, Term, Ultralytics

TWO = ["car", "bus"]


def _teacher(names: list[str], architecture: str = "yolov8n") -> LoadedModel:
    return LoadedModel(build(architecture, names), tuple(names), architecture)


def test_a_fitting_pair_passes() -> None:
    terms: list[Term] = [Responsive(), Ld(), Dkd(), Ultralytics()]
    check_pair(_teacher(TWO), build("yolov8n-half", TWO), terms, 64)


@pytest.mark.parametrize(
    ("names", "message"),
    [(["bus", "car"], "in the dataset's order"), (["car", "van"], "a teacher of the dataset's classes")],
)
def test_other_classes_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(PairError, match=message) as refused:
        check_pair(_teacher(names), build("yolov8n-half", TWO), [Responsive()], 64)
    assert refused.value.problems[0].where == "/teacher"


def test_other_head_strides_are_refused_where_a_term_compares_heads() -> None:
    teacher, student = _teacher(["car"]), build("yolov8n-p2", ["car"])
    check_pair(teacher, student, [Regenerated()], 64)
    with pytest.raises(PairError, match=r"head strides \[8, 16, 32\], got \[4, 8, 16, 32\]"):
        check_pair(teacher, student, [Responsive()], 64)


@pytest.mark.parametrize(
    ("teacher", "student"), [("yolo26n", "yolo26n"), ("yolov8n", "yolo26n"), ("yolo26n", "yolov8n")]
)
def test_a_term_on_distributions_needs_heads_that_predict_them(teacher: str, student: str) -> None:
    with pytest.raises(PairError, match="DFL, reg_max > 1") as refused:
        check_pair(_teacher(TWO, teacher), build(student, TWO), [Ld()], 64)
    assert refused.value.problems[0].where == "/distillation/losses/ld"


def test_a_softmax_over_classes_needs_two_or_a_logit_to_compare_with() -> None:
    teacher, student = _teacher(["car"]), build("yolov8n-half", ["car"])
    with pytest.raises(PairError, match="at least 2 classes for a softmax, got 1; `constant_logit: true`"):
        check_pair(teacher, student, [Dkd()], 64)
    check_pair(teacher, student, [Dkd(constant_logit=True), Responsive()], 64)


def test_a_level_without_a_head_has_no_scores_to_weigh_with() -> None:
    with pytest.raises(
        PairError, match=r"levels of the teacher's head, strides \[8, 16, 32\], got also \[4\]"
    ) as refused:
        check_pair(_teacher(TWO), build("yolov8n-half", TWO), [Ultralytics(levels=(4, 8))], 64)
    assert refused.value.problems[0].where == "/distillation/losses/ultralytics/levels"


def test_head_maps_of_other_widths_need_a_mapper() -> None:
    teacher, student = _teacher(TWO), build("yolov8n-half", TWO)  # 64 and 32 channels for the scores, 64 for boxes
    check_pair(teacher, student, [Crosskd()], 64)
    check_pair(teacher, build("yolov8n", TWO), [Crosskd(mapper="none")], 64)
    message = r"maps for scores are equally wide where `mapper` is `none`, got channels \[64, 64, 64\] of the teacher"
    with pytest.raises(PairError, match=message) as refused:
        check_pair(teacher, student, [Crosskd(mapper="none")], 64)
    assert [problem.where for problem in refused.value.problems] == ["/distillation/losses/crosskd/mapper"]


def test_the_teacher_alone_must_predict_the_distributions_that_cross_heads_compare() -> None:
    check_pair(_teacher(TWO), build("yolo26n", TWO), [Crosskd(box_loss="kl")], 64)
    with pytest.raises(PairError, match=r"DFL, reg_max > 1.* for `kl`, got reg_max 1; `giou` needs none") as refused:
        check_pair(_teacher(TWO, "yolo26n"), build("yolov8n", TWO), [Crosskd(box_loss="kl")], 64)
    assert refused.value.problems[0].where == "/distillation/losses/crosskd/box_loss"
    check_pair(_teacher(TWO, "yolo26n"), build("yolov8n", TWO), [Crosskd(), Crosskd(box_loss="giou")], 64)


def test_every_problem_is_told() -> None:
    with pytest.raises(PairError) as refused:
        check_pair(_teacher(["a"], "yolo26n"), build("yolov8n-half", ["b"]), [Ld(), Dkd()], 80)
    assert [problem.where for problem in refused.value.problems] == [
        "/teacher",
        "/train/imgsz",
        "/distillation/losses/ld",
        "/distillation/losses/dkd",
    ]
