import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from rdrkd.errors import SpecError
from rdrkd.models import build, save_student
from rdrkd.spec import TABLE_1, TABLE_2, Decoupled, Regenerated
from rdrkd.spec.problems import problems_of
from rdrkd.spec.study import Study
from rdrkd.study.members import deciding, members_of, teacher_spec, without_paths
from rdrkd.study.specfile import read_study

ROOT = Path(__file__).parents[3]
BASE: dict[str, Any] = {
    "name": "s", "dataset": "d", "teacher": {"model": {"architecture": "yolov8l"}, "train": {"epochs": 3}},
    "student": {"architecture": "yolov8n"}, "methods": ["none", "rdr-kd"], "seeds": [0, 1],
}  # fmt: skip


def hashes(**changes: Any) -> dict[tuple[str, int], str]:
    study = Study.model_validate({**BASE, **changes})
    return {(m.method, m.seed): m.hash for m in members_of(study, "sha", {"path": "t.pt"})}


def test_each_method_gets_each_seed_whole_comparisons_first() -> None:
    study = Study.model_validate(BASE)
    found = [(m.method, m.seed) for m in members_of(study, "sha", {"path": "t.pt"})]
    assert found == [("none", 0), ("rdr-kd", 0), ("none", 1), ("rdr-kd", 1)]
    member = members_of(study, "sha", {"path": "t.pt"})[-1]
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


def test_a_control_has_a_hash_of_its_own_beside_the_same_baseline() -> None:
    with_controls = {"methods": ["none", "rdr-kd", "controls"]}
    study = Study.model_validate({**BASE, **with_controls})
    members = members_of(study, "sha", {"path": "t.pt"})
    assert len({member.hash for member in members}) == 7, "each method has one, whatever the seed"
    assert len({member.setting for member in members}) == 1, "so they are compared with one another"
    assert hashes()["none", 0] == hashes(**with_controls)["none", 0], "what is known of others stays known"
    by_name = {member.method: member for member in members if member.seed == 0}
    assert by_name["none@imgsz"].spec["train"]["imgsz"] == 768
    assert by_name["none@p2"].spec["model"] == {"architecture": "yolov8n-p2"}
    assert not by_name["none@time"].needs_teacher
    assert by_name["none@time"].as_long_as == "rdr-kd"


def test_a_measured_length_counts_by_the_method_that_is_measured() -> None:
    def of(**changes: Any) -> str:
        return hashes(methods=["none", "rdr-kd", "pkd", {"name": "x", "as_long_as": "rdr-kd", **changes}])["x", 0]

    other = {"model": {"architecture": "yolov8m"}, "train": {"epochs": 3}}
    assert of() == of()
    assert of(as_long_as="pkd") != of()
    assert of(train={"lr0": 0.5}) != of()
    again = hashes(teacher=other, methods=["none", "rdr-kd", "pkd", {"name": "x", "as_long_as": "rdr-kd"}])
    assert again["x", 0] != of(), "another teacher takes another time"


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
    assert [method.name for method in study.each_method] == [*map(str, TABLE_2), "ultralytics"]
    assert len(TABLE_2) == 6


def test_a_group_leaves_out_what_the_list_names_itself() -> None:
    mine = {"name": "mine", "distillation": {"losses": [{"name": "decoupled"}], "calibration": {"share": 0.3}}}
    study = Study.model_validate({**BASE, "methods": ["rdr-kd", "table2", mine, "none"]})
    rest = [str(preset) for preset in TABLE_2 if preset not in ("none", "rdr-kd")]
    assert [method.name for method in study.each_method] == ["rdr-kd", *rest, "mine", "none"]


def test_a_refused_method_is_named_by_its_place_in_the_list() -> None:
    broken = {"name": "mine", "distillation": {"losses": [{"name": "decoupled", "temperature": -1}]}}
    content = {**BASE, "methods": ["table2", broken, "no-such"]}
    with pytest.raises(ValidationError) as refused:
        Study.model_validate(content)
    problems = {problem.where: problem.detail for problem in problems_of(refused.value, content)}
    assert set(problems) == {"/methods/1/distillation/losses/0/temperature", "/methods/2"}
    assert "'rdr-kd'" in problems["/methods/2"]
    assert "'table2'" in problems["/methods/2"]


def test_results_name_no_folder_of_this_machine() -> None:
    content = {**BASE, "dataset": "/a/b/scenes.zip", "teacher": {"model": {"path": "/a/c/t.pt"}}}
    kept = json.dumps(without_paths(Study.model_validate(content)))
    assert "scenes.zip" in kept
    assert "t.pt" in kept
    assert "/a" not in kept


def test_the_comparison_is_its_presets_under_one_name() -> None:
    study = Study.model_validate({**BASE, "methods": ["table1"]})
    assert [method.name for method in study.each_method] == [*map(str, TABLE_1)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["none", "none"]}, "distinct methods"),
        ({"seeds": [1, 1]}, "distinct seeds"),
        ({"seeds": [True, False]}, "valid integer"),
        ({"seeds": ["1"]}, "valid integer"),
        ({"train": {"seed": 0}}, "no seed here but in `seeds`, got 0"),
        ({"teacher": {"model": {"architecture": "yolov8l"}}}, "a model that has weights, or `train` to make them"),
        ({"methods": ["no-such"]}, "Input should be"),
        (
            {"methods": [{"name": "none", "distillation": {"preset": "rdr-kd"}}]},
            "the name `none` for the student alone",
        ),
        ({"methods": [{"name": "alone", "distillation": {"preset": "none"}}]}, "the name `none` for the student alone"),
        (
            {"methods": [{"name": "rdr-kd", "distillation": {"preset": "ultralytics"}}]},
            "a name that no preset has, got rdr-kd",
        ),
        ({"methods": [{"name": "table2", "distillation": {"preset": "rdr-kd"}}]}, "a name that no preset has"),
        ({"methods": ["table2", "table2"]}, "distinct methods"),
        ({"methods": [{"name": "../x", "distillation": {"preset": "rdr-kd"}}]}, "pattern"),
        ({"extra": 1}, "Extra inputs"),
    ],
)
def test_what_makes_no_study_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Study.model_validate({**BASE, **changes})


def refused(**changes: Any) -> dict[str, str]:
    """The problems of a study with these changes, by pointer."""
    content = {**BASE, **changes}
    with pytest.raises(ValidationError) as caught:
        Study.model_validate(content)
    return {problem.where: problem.detail for problem in problems_of(caught.value, content)}


def test_each_fault_of_a_list_is_named_by_its_place() -> None:
    mine = {"name": "mine", "distillation": {"losses": [{"name": "decoupled"}]}}
    assert refused(methods=["none", mine, "table2", {**mine}], seeds=[1, 2, 1, 2], train={"seed": 3}) == {
        "/methods/3": "expected distinct methods, got mine again",
        "/seeds/2": "expected distinct seeds, got 1 again",
        "/seeds/3": "expected distinct seeds, got 2 again",
        "/train/seed": "expected no seed here but in `seeds`, got 3",
    }
    assert refused(seeds=[True]) == {"/seeds/0": "expected a valid integer, got True"}
    assert set(refused(teacher={"model": {"architecture": "yolov8l"}})) == {"/teacher"}


def test_a_teacher_is_trained_or_given() -> None:
    trained = teacher_spec(Study.model_validate(BASE))
    assert trained is not None
    assert (trained["kind"], trained["model"], trained["train"]["epochs"]) == ("train", {"architecture": "yolov8l"}, 3)
    assert teacher_spec(Study.model_validate({**BASE, "teacher": {"model": {"path": "t.pt"}}})) is None


def test_paths_of_a_file_are_relative_to_it(tmp_path: Path) -> None:
    save_student(build("yolov8n-half", ["a"]), tmp_path, {})
    (tmp_path / "scenes.zip").touch()
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
    for content in ("- 1", "{"):
        file.write_text(content)
        with pytest.raises(SpecError):
            read_study(file)
    with pytest.raises(SpecError, match="expected a study spec in"):
        read_study(tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    ("changes", "where", "detail"),
    [
        ({"dataset": "none.zip"}, "/dataset", "expected a dataset, got nothing at"),
        ({"student": {"path": "none.pt"}}, "/student/path", "expected a weights file, got nothing at"),
        ({"teacher": {"model": {"path": "none.pt"}}}, "/teacher/model/path", "expected a weights file, got nothing at"),
        ({"teacher": {"model": {"architecture": "yolov8l"}}}, "/teacher", "has weights, or `train` to make"),
        (
            {"student": {"model": "mdl_" + "0" * 32}},
            "/student",
            "{path: ...} or {architecture: ...} on this machine, got the id",
        ),
        (
            {"student": {"job": "job_" + "0" * 32}},
            "/student",
            "{path: ...} or {architecture: ...} on this machine, got the id",
        ),
        (
            {"teacher": {"model": {"model": "mdl_" + "0" * 32}}},
            "/teacher/model",
            "`rdrkd studies submit` runs the spec there",
        ),
    ],
)
def test_what_this_machine_does_not_have_is_refused_by_field(
    changes: dict[str, Any], where: str, detail: str, tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "study.json").write_text(json.dumps({**BASE, **changes}))
    with pytest.raises(SpecError) as refused:
        read_study(tmp_path / "study.json")
    (problem,) = refused.value.problems
    assert problem.where == where
    assert detail in problem.detail


def _examples() -> list[tuple[str, str]]:
    """Return the study specs of the documents and those that come with the repository, by where they stand."""
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = [
        (f"{file.name}, {number}", block)
        for file in documents
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", file.read_text(), re.DOTALL))
        if re.search("^methods:", block, re.MULTILINE)
    ]
    return found + [(file.name, file.read_text()) for file in sorted((ROOT / "studies").glob("*.yaml"))]


def test_the_documents_have_an_example() -> None:
    assert {"README.md", "studies.md"} <= {name.split(",")[0] for name, _ in _examples()}


def test_the_readmes_study_only_needs_the_files_that_the_readme_names(tmp_path: Path) -> None:
    (text,) = (text for name, text in _examples() if name.startswith("README.md"))
    (tmp_path / "study.yaml").write_text(text)
    for name in ("scenes.zip", "teacher.pt"):
        (tmp_path / name).touch()
    assert [method.name for method in read_study(tmp_path / "study.yaml").each_method] == ["none", "rdr-kd"]


@pytest.mark.parametrize(("name", "text"), _examples())
def test_examples_are_studies(name: str, text: str) -> None:
    assert Study.model_validate(yaml.safe_load(text)).each_method


def test_an_option_that_came_later_decides_only_where_it_is_used() -> None:
    """Members that were recorded before it stay known."""
    for term in (Regenerated(), Decoupled()):
        assert not {"generation", "standardize", "by_visibility"} & deciding(term).keys()
    assert deciding(Regenerated(generation="bottleneck"))["generation"] == "bottleneck"
    assert deciding(Decoupled(by_visibility=True))["by_visibility"] is True
    assert deciding(Decoupled())["overlap"] == "max"
