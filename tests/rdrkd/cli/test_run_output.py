"""What people see: one run's events, drawn on a pipe."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from rdrkd import events
from rdrkd.cli.distill_options import advice_in_options
from rdrkd.cli.run_output import People, show_failure, show_inspection
from rdrkd.reasons import Reason

FIGURES = {"AP": 18.84, "AP50": 33.0, "AP75": 20.0, "AP_S": 9.5, "AP_M": 30.0, "AP_L": None}
RESULT = {
    "kind": "distill",
    "best_epoch": 2,
    "metrics": {
        "coco": FIGURES,
        "coco_maxdets500": FIGURES | {"AP": 19.96},
        "ultralytics": {"mAP50_95": 21.0, "mAP50": 35.0, "precision": 50.0, "recall": 40.0},
    },
    "per_class": {"car": {"AP": 30.0, "AP50": 50.0}, "[bus]": {"AP": None, "AP50": None}},
    "student": {"architecture": "yolov8n", "parameters": 3_012_000},
    "weights": {"student.pt": {}},
}


def epoch(number: int, **losses: float) -> events.Epoch:
    metrics = {"mAP50_95": 1.0, "mAP50": 2.0, "precision": 3.0}
    return events.Epoch(epoch=number, epochs=2, losses=losses, lr=0.01, metrics=metrics, seconds=75)


def shown(*given: events.Event) -> str:
    written = io.StringIO()
    people = People(Console(file=written, width=140))
    for event in given:
        people.emit(event)
    return written.getvalue()


def test_a_row_an_epoch_under_one_heading() -> None:
    text = shown(epoch(1, box=1.5, regenerated=522.34), epoch(2, box=1.25, regenerated=500.0))
    lines = [line.split() for line in text.splitlines() if "losses:" not in line]
    assert lines == [
        ["training", "..."],
        ["epoch", "box", "regenerated", "mAP50_95", "mAP50", "time"],
        ["1/2", "1.5", "522.3", "1.0", "2.0", "1", "min", "15", "s"],
        ["2/2", "1.25", "500", "1.0", "2.0", "1", "min", "15", "s"],
    ]


@pytest.mark.parametrize(
    ("held", "ended", "words"),
    [
        (False, events.Failed(reason=Reason.FOLDER_UNUSABLE, message="no"), set()),
        (True, events.Failed(reason=Reason.FOLDER_UNUSABLE, message="no"), set()),
        (False, events.Resolved(resolved_spec={}), {"run folder: "}),
        (True, events.Resolved(resolved_spec={}), {"resuming "}),
        (True, events.Done(result=RESULT), {"this run has finished; its result:"}),
    ],
)
def test_a_run_is_announced_once_nothing_refuses_it(
    held: bool, ended: events.Event, words: set[str], tmp_path: Path
) -> None:
    if held:
        (tmp_path / "spec.json").write_text("{}")
    written = io.StringIO()
    people = People(Console(file=written, width=300), tmp_path)
    (tmp_path / "spec.json").write_text("{}")  # a run writes it when it begins
    people.emit(ended)
    said = {text for text in ("run folder: ", "resuming ", "this run has finished; its result:")
            if text in written.getvalue()}  # fmt: skip
    assert said == words


WITH_BASELINE = events.Resolved(resolved_spec={"train": {"epochs": 2}, "baseline": True})


def test_epochs_are_counted_within_each_training_which_is_named() -> None:
    """With a baseline, events number the epochs of both trainings through; a person asked for two of each."""
    rows = [
        events.Epoch(epoch=number, epochs=4, part="student" if number < 3 else "alone", losses={}, lr=0.01, seconds=1)
        for number in (1, 2, 3, 4)
    ]
    lines = [line.split("  ")[0].strip() or line.split()[0] for line in shown(WITH_BASELINE, *rows).splitlines()]
    assert [line for line in lines if "/" in line or "..." in line] == [
        "training the student ...", "1/2", "2/2", "training the student alone ...", "1/2", "2/2",
    ]  # fmt: skip


def test_a_bar_and_a_warning_name_the_training_and_its_own_epoch() -> None:
    written = io.StringIO()
    people = People(Console(file=written, width=140, force_terminal=True, color_system=None))
    people.emit(WITH_BASELINE)
    people.emit(events.Progress(phase="training_alone", completed=1, total=9, epoch=3, epochs=4))
    people.emit(events.Warn(code="nan_recovery", message="went back", epoch=4))
    people.emit(events.Stopped())
    assert "student alone, epoch 1/2" in written.getvalue()
    assert "warning, student alone, epoch 2/2: went back" in written.getvalue()


def test_a_bar_of_unknown_length_counts_nothing() -> None:
    written = io.StringIO()
    people = People(Console(file=written, width=140, force_terminal=True, color_system=None))
    people.emit(events.Progress(phase="preparing"))
    people.emit(events.Stopped())
    assert "preparing" in written.getvalue()
    assert "0/100" not in written.getvalue()
    assert "batches" not in written.getvalue()


def test_a_warning_is_told_when_it_arises_and_in_the_verdict() -> None:
    warnings = [{"code": "too_few_steps", "message": "few steps"}, {"code": "learnt_nothing", "message": "nothing"}]
    told = events.Warn(code="too_few_steps", message="few steps")
    lines = shown(told, events.Done(result={**RESULT, "warnings": warnings})).splitlines()
    assert (lines[0], lines[-1]) == ("warning few steps", "Nothing. Few steps.")


def test_advice_is_reworded_wherever_it_is_printed() -> None:
    written = io.StringIO()
    people = People(Console(file=written, width=140), say=advice_in_options)
    people.emit(events.Warn(code="a", message="set train.batch to 3, and train.nbs to the same"))
    people.emit(
        events.Done(result={**RESULT, "warnings": [{"code": "learnt_nothing", "message": "at this train.imgsz"}]})
    )
    assert "warning set --batch to 3, and train.nbs (in a spec file) to the same" in written.getvalue()
    assert "At this --imgsz." in written.getvalue()


def test_the_last_lines_name_the_run_folder_and_its_files(tmp_path: Path) -> None:
    for name in ("student.pt", "student.safetensors", "report.html", "model_card.md", "metrics.jsonl"):
        (tmp_path / name).touch()
    written = io.StringIO()
    People(Console(file=written, width=140), tmp_path).emit(events.Done(result=RESULT))
    lines = written.getvalue().split(f"Run folder: {tmp_path}\n")[1].splitlines()
    assert [line.split()[0] for line in lines] == ["student.pt", "report.html", "model_card.md"]


def test_a_phase_is_told_once() -> None:
    progress = [events.Progress(phase="training", completed=n, total=9, eta_seconds=3) for n in range(3)]
    assert shown(*progress).split() == ["training", "..."]


def test_figures_are_labelled_by_protocol_and_unknown_ones_are_a_dash() -> None:
    text = shown(events.Done(result=RESULT))
    rows = [line for line in text.splitlines() if "maxDets" in line and "│" in line]
    assert [cell.strip() for cell in rows[0].split("│")[3:9]] == ["18.8", "33.0", "20.0", "9.5", "30.0", "-"]
    assert "20.0" in rows[1]
    assert "Ultralytics' own metric (percent)" in text
    assert "[bus]" in text, "a class name is no markup"


def test_the_verdict_comes_last_fits_80_columns_and_what_is_dead_looks_dead() -> None:
    points = {"precision": 70.8, "recall": 23.8, "f1": 35.6}
    network = {
        **FIGURES, "name": "yolov8n", "architecture": "yolov8n", "parameters": 3_012_000, "megabytes": 6.04,
        "operating_points": {"usual": points | {"confidence": 0.25}, "best_f1": points | {"confidence": 0.08}},
        "latency": {"median_ms": 12.345, "q1_ms": 11.5, "q3_ms": 130.0}, "training_seconds": 3601.0,
    }  # fmt: skip
    teacher = {**network, "name": "[l].pt", "architecture": None, "latency": None, "training_seconds": None}
    difference = dict.fromkeys(FIGURES, 1.25) | {"AP_L": None}
    comparison = {
        "split": "val", "teacher": teacher, "alone": network, "student": network, "difference": difference,
        "summary": "One seed proves nothing.",
    }  # fmt: skip
    warning = {"code": "teacher_behind", "message": "use a larger teacher"}
    written = io.StringIO()
    done = events.Done(result={**RESULT, "comparison": comparison, "warnings": [warning]})
    People(Console(file=written, width=80)).emit(done)
    lines = written.getvalue()[written.getvalue().index("Precision, recall") :].splitlines()
    words = [line.split() for line in lines]
    assert ["student", "alone", "18.8", "33.0", "9.5"] in words
    assert ["student", "-", "alone", "+1.2", "+1.2", "+1.2"] in words
    assert ["student", "70.8", "23.8", "35.6", "0.08", "70.8", "23.8", "35.6"] in words
    assert ["student", "yolov8n", "3.01", "6.0", "12.3", "(11.5-130.0)", "1", "h", "00", "min"] in words
    assert "ms/image: median (quartiles); where these overlap, a difference is noise" in " ".join(
        written.getvalue().split()
    )
    assert ["teacher", "[l].pt", "3.01", "6.0", "-", "-"] in words
    assert lines[-1] == "Use a larger teacher. One seed proves nothing."
    assert "unrounded" in lines[-2], "18.8 - 18.8 is not +1.2"


def test_failures_name_the_field() -> None:
    problems = [{"where": "/train/lr0", "detail": "expected [less], got 11"}]
    text = shown(events.Failed(reason=Reason.SPEC_INVALID, message="refused [1]", problems=problems))
    assert text.split("\n")[:2] == ["spec_invalid: refused [1]", "  /train/lr0 expected [less], got 11"]


@pytest.mark.parametrize(
    ("message", "headline"),
    [
        ("teacher and student do not fit: expected 3 classes, got 2", "teacher and student do not fit"),
        ("/data/names: expected 3 classes, got 2", ""),
        ("2 fields are refused", "2 fields are refused"),
        ("2 problems, the first at /data/names: expected 3 classes, got 2", "2 problems"),
    ],
)
def test_a_failure_shows_each_problem_once(message: str, headline: str) -> None:
    problems = [
        {"where": "/data/names", "detail": "expected 3 classes, got 2"},
        {"where": "/train/batch", "detail": "expected at least 1, got 0"},
    ]
    target = io.StringIO()
    failed = events.Failed(reason=Reason.SPEC_INVALID, message=message, problems=problems)
    show_failure(failed, Console(file=target, width=200))
    assert [line.strip() for line in target.getvalue().splitlines()] == [
        f"spec_invalid: {headline}".strip(),
        "/data/names expected 3 classes, got 2",
        "/train/batch expected at least 1, got 0",
    ]


def test_an_inspection_is_printed_as_facts() -> None:
    written = io.StringIO()
    report = {
        "kind": "dataset", "ok": True, "size": 2048, "format": "yolo", "problems": [], "warnings": ["no val split"],
        "names": ["car"], "statistics": {"splits": {"train": {"images": 3}}, "boxes": 4},
    }  # fmt: skip
    show_inspection(report, Console(file=written, width=200))
    assert [line.strip() for line in written.getvalue().splitlines()] == [
        "dataset: usable", "format yolo", "size 2.0 KiB", "content 3 train images, 4 objects, 1 class (car)",
        "warning no val split",
    ]  # fmt: skip
