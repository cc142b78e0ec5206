import pytest

from rdrkd.errors import PairError
from rdrkd.models import LoadedModel, build
from rdrkd.models.pairs import check_pair
from rdrkd.spec import Regenerated, Responsive


def _teacher(names: list[str], architecture: str = "yolov8n") -> LoadedModel:
    return LoadedModel(build(architecture, names), tuple(names), architecture)


def test_a_fitting_pair_passes() -> None:
    check_pair(_teacher(["car", "bus"]), build("yolov8n-half", ["car", "bus"]), [Responsive()], 64)


@pytest.mark.parametrize(
    ("names", "message"),
    [(["bus", "car"], "in the dataset's order"), (["car", "van"], "a teacher of the dataset's classes")],
)
def test_other_classes_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(PairError, match=message) as refused:
        check_pair(_teacher(names), build("yolov8n-half", ["car", "bus"]), [Responsive()], 64)
    assert refused.value.problems[0].where == "/teacher"


def test_other_head_strides_are_refused_where_a_term_compares_heads() -> None:
    teacher, student = _teacher(["car"]), build("yolov8n-p2", ["car"])
    check_pair(teacher, student, [Regenerated()], 64)
    with pytest.raises(PairError, match=r"head strides \[8, 16, 32\], got \[4, 8, 16, 32\]"):
        check_pair(teacher, student, [Responsive()], 64)
