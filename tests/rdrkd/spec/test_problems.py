"""Errors of a job spec as problems: pointers into the user's JSON, what was expected and what came."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from rdrkd.errors import SpecError
from rdrkd.spec import JOB_SPEC, RUN_SPEC, TERMS, Distill
from rdrkd.spec.forms import words_of
from rdrkd.spec.problems import problems_of
from rdrkd.spec.splitting import Split
from rdrkd.spec.study import Study
from rdrkd.spec.training import TrainSettings
from rdrkd.study.specfile import read_study

TRAIN: dict[str, Any] = {"kind": "train", "dataset": "d", "model": {"architecture": "yolov8n"}}
DISTILL: dict[str, Any] = {
    "kind": "distill", "dataset": "d", "teacher": {"path": "t.pt"}, "student": {"architecture": "yolov8n"},
}  # fmt: skip


def problems(data: Any) -> dict[str, str]:
    """Validate what must be refused; give detail by pointer."""
    with pytest.raises(ValidationError) as caught:
        JOB_SPEC.validate_python(data)
    found = problems_of(caught.value, data)
    assert len({p.where for p in found}) == len(found), "one problem a field"
    return {p.where: p.detail for p in found}


MISTAKES = {"train": {"epochs": 0, "imgsz": 100}}


@pytest.mark.parametrize(
    "data",
    [
        DISTILL | MISTAKES | {"kind": "distil"},
        DISTILL | MISTAKES | {"kind": 7},
        DISTILL | MISTAKES | {"kind": [1]},
        {name: value for name, value in (DISTILL | MISTAKES).items() if name != "kind"},
        TRAIN | MISTAKES | {"kind": "something else"},
    ],
)
def test_a_wrong_kind_hides_no_other_problem(data: dict[str, Any]) -> None:
    """Without a similar kind, that with most of the spec's fields is meant."""
    assert set(problems(data)) == {"/kind", "/train/epochs", "/train/imgsz"}


def test_a_wrong_term_hides_no_other_problem() -> None:
    losses = [{"name": "regenrated", "weight": -1}, {"tau_area": -1, "fusion": "x", "generation": 1}]
    found = problems(DISTILL | MISTAKES | {"distillation": {"losses": losses}})
    options = {"/0/name", "/0/weight", "/1/name", "/1/tau_area", "/1/fusion", "/1/generation"}
    assert set(found) == {f"/distillation/losses{where}" for where in options} | {"/train/epochs", "/train/imgsz"}
    assert found["/distillation/losses/0/name"].endswith("did you mean `regenerated`?")


def test_other_choices_hide_no_other_problem() -> None:
    distillation = {"preset": "x", "calibration": {"mode": "x", "share": -1}, "schedule": {"shape": "x", "end": -1}}
    found = problems(DISTILL | MISTAKES | {"teacher": {"foo": 1}, "distillation": distillation})
    within = ("preset", "calibration/mode", "calibration/share", "schedule/shape", "schedule/end")
    assert set(found) == {f"/distillation/{name}" for name in within} | {"/teacher", "/train/epochs", "/train/imgsz"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, {"/kind": "expected this field, got nothing"}),
        ([1], {"": "expected an object, got [1]"}),
        ({"kind": "x"}, {"/kind": "expected one of 'distill', 'train', 'evaluate', 'export', got 'x'"}),
        ({"kind": "train", "dataset": "d"}, {"/model": "expected this field, got nothing"}),
        (TRAIN | {"train": {"epochs": 0}}, {"/train/epochs": "expected a value greater than or equal to 1, got 0"}),
        (TRAIN | {"train": {"bogus": 1}}, {"/train/bogus": "unknown field `bogus`"}),
        (
            TRAIN | {"train": {"epoch": 1}},
            {"/train/epoch": "unknown field `epoch`; did you mean `epochs`?"},
        ),
        (TRAIN | {"train": {"imgsz": 100}}, {"/train/imgsz": "expected a multiple of 32, such as 96, got 100"}),
        (TRAIN | {"priority": "high"}, {"/priority": "expected a valid integer, got 'high'"}),
        (TRAIN | {"labels": {"a/b": 5}}, {"/labels/a~1b": "expected a valid string, got 5"}),
        (TRAIN | {"labels": {"": "x"}}, {"/labels/": "expected a string with at least 1 character, got ''"}),
        (DISTILL | {"teacher": "mdl"}, {"/teacher": "expected an object, got 'mdl': write {path: mdl}"}),
        (
            DISTILL | {"distillation": "rdr-kd"},
            {"/distillation": "expected an object, got 'rdr-kd': write {preset: rdr-kd}"},
        ),
        (
            TRAIN | {"dataset": {"path": "x.zip"}},
            {"/dataset": "expected a valid string, got {'path': 'x.zip'}: "
             "write x.zip, or on the service the id of a dataset"},
        ),
        (
            DISTILL | {"teacher": {"modell": "x"}},
            {"/teacher": "expected one of {model}, {job}, {path}, {architecture, pretrained}, got {modell}"},
        ),
        (
            DISTILL | {"student": {"job": "a\nb"}},
            {"/student/job": "expected a text without line breaks and other control characters, got 'a\\nb'"},
        ),
    ],
)  # fmt: skip
def test_one_problem(data: Any, expected: dict[str, str]) -> None:
    assert problems(data) == expected


def test_terms_are_addressed_by_their_index() -> None:
    losses = [{"name": "decoupled", "alpha": -1}, {"name": "zz"}, {"weight": 1}]
    assert problems(DISTILL | {"distillation": {"losses": losses}}) == {
        "/distillation/losses/0/alpha": "expected a value greater than or equal to 0, got -1",
        "/distillation/losses/1/name": f"expected one of {', '.join(map(repr, TERMS))}, got 'zz'",
        "/distillation/losses/2/name": "expected this field, got nothing",
    }


def test_an_empty_list_of_terms_is_a_problem_of_the_list() -> None:
    assert problems(DISTILL | {"distillation": {"losses": []}}) == {
        "/distillation/losses": "expected at least 1 item, got []"
    }


def test_both_preset_and_losses() -> None:
    data = DISTILL | {"distillation": {"losses": [{"name": "decoupled"}], "preset": "none"}}
    assert problems(data) == {"/distillation": "expected either `preset` or `losses`, got both"}


def test_long_values_are_cut() -> None:
    assert len(problems(TRAIN | {"dataset": ["x" * 5000]})["/dataset"]) < 150


def test_a_schedule_that_never_turns_the_terms_on_is_refused() -> None:
    schedule = {"warmup_epochs": 3, "stop_epochs": 5}
    spec = DISTILL | {"distillation": {"preset": "rdr-kd", "schedule": schedule}, "train": {"epochs": 5}}
    (detail,) = problems(spec).values()
    assert "expected stop_epochs below the 5 epochs of train, got 5" in detail
    assert JOB_SPEC.validate_python(spec | {"train": {"epochs": 6}})


@pytest.mark.parametrize(
    ("preset", "warmup", "stop", "most"),
    [
        ("rdr-kd", 3, 5, "33%"), ("rdr-kd", 1, 5, "100%"), ("rdr-kd", 6, 0, "100%"), ("rdr-kd", 0, 5, None),
        ("rdr-kd", 2, 3, None), ("none", 3, 5, None),
    ],
)  # fmt: skip
def test_a_schedule_that_never_gives_the_terms_their_full_weight_says_so(
    preset: str, warmup: float, stop: float, most: str | None
) -> None:
    schedule = {"warmup_epochs": warmup, "stop_epochs": stop}
    spec = DISTILL | {"distillation": {"preset": preset, "schedule": schedule}, "train": {"epochs": 6}}
    said = JOB_SPEC.validate_python(spec).short_schedule
    if most is None:
        assert said is None
    else:
        assert f"to leave some of the 6 epochs of train, got {warmup} and {stop}: the terms stay below {most}" in said


def test_a_mistyped_field_of_any_object_suggests_the_field() -> None:
    schedule = {"preset": "ld", "schedule": {"warmup_epoch": 1}}
    typos: list[tuple[Any, str]] = [(DISTILL | {"distillation": schedule}, "/distillation/schedule/warmup_epoch")]
    typos += [(DISTILL | {"train": {name[:-1]: 1}}, f"/train/{name[:-1]}") for name in _long(TrainSettings)]
    for name in _long(Distill):
        typos.append(({key: value for key, value in DISTILL.items() if key != name} | {name[:-1]: 1}, f"/{name[:-1]}"))
    for term, model in TERMS.items():
        for name in _long(model):
            losses = [{"name": term, name[:-1]: 1}]
            typos.append((DISTILL | {"distillation": {"losses": losses}}, f"/distillation/losses/0/{name[:-1]}"))
    for data, where in typos:
        found = re.fullmatch(r"unknown field `(\w+)`; did you mean `(\w+)`\?", problems(data)[where])
        assert found, where
        assert where.endswith(f"/{found[1]}")
        assert found[2].startswith(found[1])


@pytest.mark.parametrize(
    ("data", "where", "meant"),
    [
        (DISTILL | {"distillation": {"preset": "rdr-kdd"}}, "/distillation/preset", "rdr-kd"),
        (DISTILL | {"distillation": {"losses": [{"name": "decoupld"}]}}, "/distillation/losses/0/name", "decoupled"),
        (TRAIN | {"train": {"optimizer": "AdmW"}}, "/train/optimizer", "AdamW"),
        (TRAIN | {"kind": "trian"}, "/kind", "train"),
    ],
)
def test_a_mistyped_choice_suggests_the_choice(data: dict[str, Any], where: str, meant: str) -> None:
    assert problems(data)[where].endswith(f"; did you mean `{meant}`?")


def test_fields_that_differ_only_in_case_suggest_the_field() -> None:
    names = [name for name in DISTILL if name != "kind"]
    found = problems({name.upper(): DISTILL[name] for name in names} | {"kind": "distill"})
    for name in names:
        assert found[f"/{name.upper()}"] == f"unknown field `{name.upper()}`; did you mean `{name}`?"
    assert problems({"KIND": "distill"}) == {"/kind": "expected this field, got `KIND`"}
    assert problems(TRAIN | {"train": {"optimizer": "adamw"}})["/train/optimizer"].endswith("did you mean `AdamW`?")


def test_many_problems_do_not_take_the_suggestions_of_the_top_level() -> None:
    wrong = ("epochs", "batch", "workers", "imgsz", "mosaic", "nbs", "lr0", "seed", "lrf", "momentum")
    train = dict.fromkeys(wrong, "x")
    mistyped = {f"optimize_{number}": 1 for number in range(60)}
    found = problems(DISTILL | {"baselin": True, "train": train | mistyped})
    assert found["/baselin"].endswith("; did you mean `baseline`?")
    assert sum("did you mean" in detail for detail in found.values()) == 40, "the cost is bounded"


def _long(model: type[BaseModel]) -> list[str]:
    """Return the names of fields that lose a letter and stay recognisable."""
    return [name for name in model.model_fields if len(name) > 4]


def test_a_mistyped_field_of_a_study_file_suggests_the_field(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("name: s\ndatset: d\nteacher: {modl: 1}\nstudent: {}\nmethods: [{name: m, distilation: {}}]\n")
    with pytest.raises(SpecError) as caught:
        read_study(file)
    found = {problem.where: problem.detail for problem in caught.value.problems}
    assert found["/datset"] == "unknown field `datset`; did you mean `dataset`?"
    assert found["/teacher/modl"] == "unknown field `modl`; did you mean `model`?"
    assert found["/methods/0/distilation"] == "unknown field `distilation`; did you mean `distillation`?"


def _patterns(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("pattern"), str):
            yield node["pattern"]
        for value in node.values():
            yield from _patterns(value)
    elif isinstance(node, list):
        for value in node:
            yield from _patterns(value)


def test_no_pattern_of_a_spec_is_ever_shown() -> None:
    schemas = [RUN_SPEC.json_schema(), Study.model_json_schema(), Split.model_json_schema()]
    found = {pattern for schema in schemas for pattern in _patterns(schema)}
    assert found
    assert [pattern for pattern in found if words_of(pattern) == words_of("")] == []


WRONG = [  # bodies in which every value is wrong
    TRAIN | {"train": {f"epoc{n}": 1 for n in range(5_000)}},
    TRAIN | {"train": {f"{n}{'epoc' * 1000}": 1 for n in range(200)}},
    TRAIN | {f"{n}": 1 for n in range(5_000)},
    TRAIN | {"labels": {f"{n}": n for n in range(5_000)}},
    DISTILL | {"distillation": {"losses": [{"name": "x", "weight": 1}] * 3_000}},
    DISTILL | {"distillation": {"losses": [{"name": "decoupled", "weight": 1, "colour": 2}] * 3_000}},
    DISTILL | {"distillation": {"losses": [{}] * 5_000}},
]


@pytest.mark.parametrize("data", WRONG, ids=range(len(WRONG)))
def test_telling_what_is_wrong_costs_little_however_much_is_wrong(data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        JOB_SPEC.validate_python(data)
    began = time.process_time()
    assert 1 <= len(problems_of(caught.value, data)) <= 100
    assert time.process_time() - began < 0.5
