"""The controls of a study: what they are, and what is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from rdrkd.spec.controls import TrainChanges
from rdrkd.spec.study import Study
from rdrkd.spec.training import TrainSettings

BASE: dict[str, Any] = {
    "name": "s", "dataset": "d", "teacher": {"model": {"architecture": "yolov8l"}, "train": {"epochs": 3}},
    "student": {"architecture": "yolov8n"}, "methods": ["none", "rdr-kd", "controls"], "train": {"lr0": 0.02},
}  # fmt: skip


def methods(**changes: Any) -> dict[str, dict[str, Any]]:
    return {method.name: method.changes for method in Study.model_validate({**BASE, **changes}).each_method}


def test_the_controls_are_the_student_alone_for_longer_at_other_rates_with_p2_and_larger() -> None:
    assert methods() == {
        "none": {},
        "rdr-kd": {},
        "none@time": {"as_long_as": "rdr-kd"},
        "none@lr-half": {"train": {"lr0": 0.01}},
        "none@lr-double": {"train": {"lr0": 0.04}},
        "none@p2": {"student": {"architecture": "yolov8n-p2"}},
        "none@imgsz": {"train": {"imgsz": 768}},
    }


def test_a_control_is_left_out_where_the_list_names_it_itself_or_there_is_none() -> None:
    own = {"name": "none@time", "train": {"epochs": 9}}
    found = methods(methods=["none", "pkd", own, "controls"], student={"path": "s.pt"})
    assert list(found) == ["none", "pkd", "none@time", "none@lr-half", "none@lr-double", "none@imgsz"]
    assert found["none@time"] == {"train": {"epochs": 9}}


@pytest.mark.parametrize("edge", [{"imgsz": 32}, {"imgsz": 4096}, {"lr0": 1.0}, {"lr0": 1e-6}])
def test_controls_of_any_settings_are_themselves_valid(edge: dict[str, Any]) -> None:
    found = methods(train=edge)
    for changes in found.values():
        TrainSettings.model_validate({**edge, **changes.get("train", {})})
    sizes = [changes["train"]["imgsz"] for changes in found.values() if "imgsz" in changes.get("train", {})]
    assert all(size > edge.get("imgsz", 640) for size in sizes)


@pytest.mark.parametrize(("listed", "lead"), [
    (["none", "pkd", "table2", "controls"], "rdr-kd"), (["none", "pkd", "cwd"], "pkd"), (["none"], None),
    (["none", {"name": "mine", "distillation": {"losses": [{"name": "ld"}]}}], "mine"),
])  # fmt: skip
def test_whom_the_controls_are_about(listed: list[Any], lead: str | None) -> None:
    assert Study.model_validate({**BASE, "methods": listed}).lead == lead


@pytest.mark.parametrize(("changes", "where", "what"), [
    ({"methods": ["rdr-kd", "controls"]}, ("methods", 1), "expected `none`"),
    ({"methods": ["none", "controls"]}, ("methods", 1), "a distilling method"),
    ({"methods": ["none", {"name": "x", "as_long_as": "pkd"}]}, ("methods", 1, "as_long_as"), "got pkd"),
    ({"methods": ["none", "pkd", {"name": "x", "as_long_as": "none"}]}, ("methods", 2, "as_long_as"), "got none"),
    ({"methods": ["none", "pkd", {"name": "x", "train": {"seed": 1}}]}, ("methods", 2, "own", "train", "seed"), "Ext"),
    ({"methods": ["none", "pkd", {"name": "x", "train": {"lr0": 2}}]}, ("methods", 2, "own", "train", "lr0"), "less"),
    ({"methods": ["none", {"name": "none", "train": {"lr0": 0.1}}]}, ("methods", 1, "own"), "`none`"),
    ({"methods": ["none", {"name": "pkd", "train": {"lr0": 0.1}}]}, ("methods", 1, "own"), "no preset"),
    ({"methods": ["none", {"name": "x"}]}, ("methods", 1, "own"), "`none`"),
    (
        {"methods": ["none", "pkd", {"name": "x", "as_long_as": "pkd", "train": {"epochs": 3}}]},
        ("methods", 2, "own"), "got both",
    ),
    (
        {"methods": ["none", {"name": "x", "as_long_as": "pkd", "distillation": {"preset": "pkd"}}]},
        ("methods", 1, "own"), "with a distillation",
    ),
    ({"methods": ["none"], "decide": {}}, ("decide",), "among methods"),
    ({"decide": {"method": "pkd"}}, ("decide",), "got none, rdr-kd"),
    ({"decide": {"interval": "above 1"}}, ("decide", "interval"), "above 0"),
])  # fmt: skip
def test_what_cannot_be_compared_is_refused_by_field(
    changes: dict[str, Any], where: tuple[str | int, ...], what: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Study.model_validate({**BASE, **changes})
    assert [error["loc"] for error in caught.value.errors()] == [where]
    assert what in caught.value.errors()[0]["msg"]


def test_a_schedule_that_never_begins_is_refused_by_the_method_s_own_epochs() -> None:
    off = {"preset": "decoupled", "schedule": {"stop_epochs": 2}}
    own = {"name": "x", "distillation": off, "train": {"epochs": 2}}
    with pytest.raises(ValidationError, match="stop_epochs below the 2 epochs"):
        Study.model_validate({**BASE, "methods": ["none", own]})


def test_a_method_may_change_what_a_study_sets_but_the_seed() -> None:
    assert set(TrainChanges.model_fields) == set(TrainSettings.model_fields) - {"seed"}
    assert TrainChanges().model_dump(exclude_none=True) == {}
