from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rdrkd.errors import SpecError
from rdrkd.models import build, save_student
from rdrkd.spec import TABLE_1, TABLE_2
from rdrkd.spec.study import Study
from rdrkd.study.members import members_of, teacher_spec
from rdrkd.study.specfile import read_study

BASE: dict[str, Any] = {
    "name": "s", "dataset": "d", "teacher": {"model": {"architecture": "yolov8l"}, "train": {"epochs": 3}},
    "student": {"architecture": "yolov8n"}, "methods": ["none", "rdr-kd"], "seeds": [0, 1],
}  # fmt: skip


def hashes(**changes: Any) -> dict[tuple[str, int], str]:
    study = Study.model_validate({**BASE, **changes})
    return {(m.method, m.seed): m.hash for m in members_of(study, "sha", Path("t.pt"))}


def test_each_method_gets_each_seed_whole_comparisons_first() -> None:
    study = Study.model_validate(BASE)
    found = [(m.method, m.seed) for m in members_of(study, "sha", Path("t.pt"))]
    assert found == [("none", 0), ("rdr-kd", 0), ("none", 1), ("rdr-kd", 1)]
    member = members_of(study, "sha", Path("t.pt"))[-1]
    assert member.spec["train"]["seed"] == 1
    assert member.spec["distillation"] == {"preset": "rdr-kd"}


def test_the_hash_is_of_what_decides_the_outcome() -> None:
    base = hashes()
    assert hashes(name="other") == base
    assert hashes(seeds=[1, 0, 7])["rdr-kd", 1] == base["rdr-kd", 1]
    assert hashes(methods=[{"name": "mine", "distillation": {"preset": "rdr-kd"}}])["mine", 0] == base["rdr-kd", 0]
    assert all(a != b for a, b in zip(base.values(), hashes(train={"epochs": 7}).values(), strict=True))
    assert all(a != b for a, b in zip(base.values(), hashes(student={"architecture": "yolov8s"}).values(), strict=True))


def test_the_baseline_does_not_depend_on_the_teacher() -> None:
    base = hashes()
    other = hashes(teacher={"model": {"architecture": "yolov8m"}, "train": {"epochs": 3}})
    assert other["none", 0] == base["none", 0]
    assert other["rdr-kd", 0] != base["rdr-kd", 0]


def test_weights_count_by_their_bytes_wherever_they_lie(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.pt").write_bytes(b"same")
    one, two = (hashes(teacher={"model": {"path": str(tmp_path / f / "t.pt")}}) for f in ("one", "two"))
    assert one == two
    (tmp_path / "two" / "t.pt").write_bytes(b"other")
    assert hashes(teacher={"model": {"path": str(tmp_path / "two" / "t.pt")}})["rdr-kd", 0] != one["rdr-kd", 0]


def test_the_ablation_is_six_presets_under_one_name() -> None:
    study = Study.model_validate({**BASE, "methods": ["table2", "ultralytics"]})
    assert [method.name for method in study.methods] == [*map(str, TABLE_2), "ultralytics"]
    assert len(TABLE_2) == 6


def test_the_comparison_is_its_presets_under_one_name() -> None:
    study = Study.model_validate({**BASE, "methods": ["table1"]})
    assert [method.name for method in study.methods] == [*map(str, TABLE_1)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["none", "none"]}, "distinct methods"),
        ({"seeds": [1, 1]}, "distinct seeds"),
        ({"methods": ["no-such"]}, "Input should be"),
        (
            {"methods": [{"name": "none", "distillation": {"preset": "rdr-kd"}}]},
            "the name `none` for the student alone",
        ),
        ({"methods": [{"name": "alone", "distillation": {"preset": "none"}}]}, "the name `none` for the student alone"),
        ({"methods": [{"name": "../x", "distillation": {"preset": "rdr-kd"}}]}, "pattern"),
        ({"extra": 1}, "Extra inputs"),
    ],
)
def test_what_makes_no_study_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Study.model_validate({**BASE, **changes})


def test_a_teacher_is_trained_or_given() -> None:
    trained = teacher_spec(Study.model_validate(BASE))
    assert trained is not None
    assert (trained["kind"], trained["model"], trained["train"]["epochs"]) == ("train", {"architecture": "yolov8l"}, 3)
    assert teacher_spec(Study.model_validate({**BASE, "teacher": {"model": {"path": "t.pt"}}})) is None


def test_paths_of_a_file_are_relative_to_it(tmp_path: Path) -> None:
    save_student(build("yolov8n-half", ["a"]), tmp_path, {})
    (tmp_path / "study.yaml").write_text(
        "name: s\ndataset: scenes.zip\nteacher: {model: {path: student.pt}}\n"
        "student: {path: student.pt}\nmethods: [none]\n"
    )
    study = read_study(tmp_path / "study.yaml")
    assert study.dataset == str(tmp_path / "scenes.zip")
    assert study.student.path == study.teacher.model.path == str(tmp_path / "student.pt")


def test_a_file_that_holds_no_study_is_refused_by_field(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("name: s\nmethods: [none]\nseeds: [-1]\nstudent: {architecture: resnet}\ndataset: d\n")
    with pytest.raises(SpecError) as refused:
        read_study(file)
    assert {problem.where for problem in refused.value.problems} >= {"/seeds/0", "/teacher"}
    file.write_text("- 1")
    with pytest.raises(SpecError):
        read_study(file)
