import json
import re
import shutil
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from typer.testing import CliRunner

from rdrkd.cli.main import app
from rdrkd.diagnostics import run_report
from rdrkd.diagnostics.axes import COLOURS, DASHES, MARKERS, draw
from rdrkd.diagnostics.curves import panels
from rdrkd.diagnostics.drawing import DARK
from rdrkd.diagnostics.folder import read
from rdrkd.diagnostics.run_report import Reports, write_report
from rdrkd.diagnostics.tables import parts
from rdrkd.diagnostics.verdict import CALLED, verdicts
from rdrkd.diagnostics.words import number, way
from rdrkd.errors import FolderError, StopRequested
from rdrkd.events import Epoch, Event
from rdrkd.reporter import Memory
from rdrkd.run.run import Inputs, run
from tests.rdrkd.diagnostics.pages import RESULT, SPEC, Page, epoch, write_folder
from tests.rdrkd.run.test_run import distill, train
from tests.rdrkd.stopping import StopAfter

SHARES = {"regenerated": 1.0, "decoupled": 0.5, "responsive": 0.5}
TERMS = tuple(SHARES)


def page_of(folder: Path) -> Page:
    """The page of a folder that has a whole report: it parses, fetches nothing, and its picture is one."""
    page = Page(folder / "report.html")
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "img", "form", "base"}
    assert all(link.startswith("#") for link in page.links)
    assert "@import" not in page.style
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page.style))
    picture = np.asarray(Image.open(folder / "report.png").convert("L"))
    assert picture.std() > 5, "something is drawn"
    return page


def made(folder: Path) -> Page:
    assert write_report(folder) == ["report.html", "report.png"]
    assert not list(folder.glob(".report*")), "nothing half-written is left behind"
    return page_of(folder)


# -- real runs


@pytest.fixture(scope="module")
def stopped(scenes: Path, teacher_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs, stopped in its second."""
    folder = tmp_path_factory.mktemp("report") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_report, "_SECONDS", 0.0)
        spec, inputs = distill(scenes, name="small from large"), Inputs(teacher=teacher_path, device="cpu")
        with pytest.raises(StopRequested):
            run(spec, folder, StopAfter(1), inputs)
    return folder


@pytest.fixture(scope="module")
def finished(stopped: Path, scenes: Path, teacher_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, resumed and finished."""
    folder = tmp_path_factory.mktemp("report") / "run"
    shutil.copytree(stopped, folder)
    run(distill(scenes, name="small from large"), folder, Memory(), Inputs(teacher=teacher_path, device="cpu"))
    return folder


@pytest.mark.slow
def test_a_run_that_was_cut_off_has_a_report(stopped: Path) -> None:
    text = page_of(stopped).text
    assert "small from large not finished: 1 of 2 epochs" in text
    assert "COCO protocol" not in text
    for name in ("report.html", "report.png"):
        assert (stopped / "checkpoints" / "0001" / name).read_bytes() == (stopped / name).read_bytes()


@pytest.mark.slow
def test_a_finished_runs_report_tells_each_term_with_its_numbers(finished: Path) -> None:
    text = page_of(finished).text
    assert "small from large finished: 2 of 2 epochs" in text
    assert "on cpu" in text
    first, last = (json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines())
    told = {verdict.term: verdict.sentence for verdict in verdicts(read(finished))}
    assert tuple(told) == TERMS
    for term, sentence in told.items():
        assert sentence in text
        weight = way([line["weights"][term] for line in (first, last)], number)
        assert f"weight {weight} (calibrated to {number(SHARES[term])} × the task's gradient);" in sentence
        for line in (first, last):
            assert f"{number(line['diagnostics'][f'{term}/ratio'])} ×" in sentence
            assert number(line["losses"][term]) in sentence


def test_a_finished_runs_report_has_the_figures_of_its_result(finished: Path) -> None:
    text = page_of(finished).text
    result = json.loads((finished / "result.json").read_text())
    for protocol, figures in (("maxDets 100", "coco"), ("maxDets 500", "coco_maxdets500")):
        assert f"{protocol} {result['metrics'][figures]['AP']:.1f} {result['metrics'][figures]['AP50']:.1f}" in text
    assert f"Ultralytics' own {result['metrics']['ultralytics']['mAP50_95']:.1f}" in text
    assert all(name in text for name in result["per_class"])


def test_every_level_and_share_of_a_real_run_has_its_place(finished: Path) -> None:
    history = read(finished)
    assert {panel.title.split(",")[0] for panel in panels(history)} >= {
        "task losses", "terms", "gradient of the weighted term", "cosine of the two gradients",
        "AP by Ultralytics' own validation", "weights", "hidden cells", "hidden channels",
    }  # fmt: skip
    names = [row[0] for row in parts(history).rows]
    levels = ["P2", "P3", "P4", "P5"]
    assert names == ["regenerated", *levels, "decoupled", *levels, "responsive", "class", "box"]
    filled = {columns for row in parts(history).rows if row[0] == "P2" for columns in range(len(row)) if row[columns]}
    assert filled == set(range(len(parts(history).columns))), "the two terms' P2 fill all columns"
    background = parts(history).columns.index("background cells")
    assert [row[0] for row in parts(history).rows if row[background]] == levels, "those of `decoupled`"


@pytest.mark.slow
def test_a_training_without_terms_has_a_report_without_verdicts(scenes: Path, tmp_path: Path) -> None:
    run(train(scenes), tmp_path, Memory(), Inputs(device="cpu"))
    text = page_of(tmp_path).text
    assert "finished: 1 of 1 epochs" in text
    assert "What each term did" not in text
    assert [panel.title for panel in panels(read(tmp_path))] == [
        "task losses", "AP by Ultralytics' own validation, percent", "learning rate (lr)"
    ]  # fmt: skip


class BlocksTheReport(Memory):
    """Puts a folder where the report should go."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self.run_dir = run_dir

    def emit(self, event: Event) -> None:
        super().emit(event)
        if isinstance(event, Epoch):
            (self.run_dir / "report.html").mkdir(exist_ok=True)


@pytest.mark.slow
def test_a_report_that_cannot_be_written_is_a_warning_and_the_run_goes_on(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_report, "_SECONDS", 0.0)
    memory = BlocksTheReport(tmp_path)
    result = run(train(scenes, epochs=1), tmp_path, memory, Inputs(device="cpu"))
    assert result["epochs"] == 1
    warnings = [event for event in memory.of("warning") if event.code == "report_failed"]  # type: ignore[union-attr]
    assert [event.epoch for event in warnings] == [1, None], "the training's, and the run's at its end"  # type: ignore[union-attr]
    text = (tmp_path / "warnings.jsonl").read_text()
    assert str(tmp_path) in warnings[0].message, "who trains here is told where"  # type: ignore[union-attr]
    assert str(tmp_path) not in text, "who is handed the file is not"
    kept = [json.loads(line) for line in text.splitlines()]
    assert [line["epoch"] for line in kept if line["code"] == "report_failed"] == [1, None]


class FailsIn(Memory):
    """Breaks the run when an epoch is told; with a folder where the report should go, if it is told where."""

    def __init__(self, epoch: int, blocked: Path | None = None) -> None:
        super().__init__()
        self.epoch, self.blocked = epoch, blocked

    def emit(self, event: Event) -> None:
        super().emit(event)
        if isinstance(event, Epoch) and event.epoch == self.epoch:
            if self.blocked is not None:
                (self.blocked / "report.html").mkdir()
            raise ZeroDivisionError("of the training")


@pytest.mark.slow
def test_a_run_that_fails_has_a_report_up_to_its_end(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="of the training"):
        run(train(scenes, epochs=3), tmp_path, FailsIn(2), Inputs(device="cpu"))
    text = page_of(tmp_path).text
    assert "failed: 2 of 3 epochs" in text
    assert "Why it failed internal ZeroDivisionError: of the training" in text


def test_a_report_that_fails_with_the_run_hides_no_reason(scenes: Path, tmp_path: Path) -> None:
    memory = FailsIn(1, blocked=tmp_path)
    with pytest.raises(ZeroDivisionError, match="of the training"):
        run(train(scenes, epochs=1), tmp_path, memory, Inputs(device="cpu"))
    assert [event.code for event in memory.of("warning")][1:] == ["report_failed"]  # type: ignore[union-attr]


# -- when it is written


@pytest.mark.slow
def test_a_training_draws_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, clock, drawn = write_folder(tmp_path, [epoch(1)]), [1000.0], []
    monkeypatch.setattr(run_report.time, "monotonic", lambda: clock[0])
    reports, page = Reports(folder, Memory()), folder / "report.html"
    for clock[0] in (1000.0, 1029.0, 1031.0, 1060.0, 1062.0):
        reports.refresh()
        drawn.append(page.exists())
        page.unlink(missing_ok=True)
    assert drawn == [False, False, True, False, True], "every 30 s, and not in a training shorter than that"
    reports.write()
    assert page.exists()


@pytest.mark.slow
def test_a_failure_is_told_once(tmp_path: Path) -> None:
    folder, memory = write_folder(tmp_path, [epoch(1)]), Memory()
    (folder / "report.png").mkdir()
    reports = Reports(folder, memory)
    reports.write()
    reports.write()
    assert [event.code for event in memory.of("warning")] == ["report_failed"]  # type: ignore[union-attr]


def test_a_training_outside_a_run_has_none(tmp_path: Path) -> None:
    memory = Memory()
    Reports(tmp_path, memory).write()
    assert not memory.events
    assert not list(tmp_path.iterdir())


def test_a_result_that_is_about_to_be_written_counts(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, [epoch(1), epoch(2)])
    write_report(folder, RESULT)
    assert "finished: 2 of 4 epochs (stopped early)" in page_of(folder).text


# -- folders that are not as one would wish


def test_an_empty_history_says_so(tmp_path: Path) -> None:
    text = made(write_folder(tmp_path, [])).text
    assert "not finished: 0 of 4 epochs" in text
    assert "No epoch is finished" in text
    assert "decoupled not probed no epoch is finished." in text


def test_a_finished_run_without_its_history_says_so(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, [], result=RESULT)
    (folder / "metrics.jsonl").unlink()
    text = made(folder).text
    assert "finished: the history of its epochs (metrics.jsonl) is missing" in text
    assert "decoupled not probed its history is missing" in text
    assert "The history of the epochs (metrics.jsonl) is missing: there is nothing to draw." in text
    assert "0 of 4 epochs" not in text
    assert "No epoch is finished" not in text


@pytest.mark.slow
def test_one_epoch_is_enough(tmp_path: Path) -> None:
    text = made(write_folder(tmp_path, [epoch(1)], result=RESULT)).text
    assert "decoupled takes part weight 0.1; gradient 0.5 × the task's in epoch 1; " in text
    assert "with the task (cosine 0.3); value 812." in text


@pytest.mark.slow
@pytest.mark.parametrize("other", [None, "gone", [1], {"decoupled": None, "decoupled/ratio": "x"}])
def test_any_key_may_be_missing_or_odd(other: Any, tmp_path: Path) -> None:
    keys = ["losses", "weights", "diagnostics", "metrics", "lr", "seconds", "epochs"]
    odd = [{**epoch(i), key: other} for i, key in enumerate(keys, start=1)]
    without = [{k: v for k, v in epoch(i).items() if k != key} for i, key in enumerate(keys, start=8)]
    spec = {**SPEC, "train": {"epochs": 20}}
    assert "not finished: 14 of 20 epochs" in made(write_folder(tmp_path, odd + without, spec)).text


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"distillation": None, "train": []},
        {"name": 3, "teacher": "t", "distillation": {"losses": [1, {"name": 2}], "calibration": 1, "schedule": "x"}},
    ],
)
def test_a_spec_of_another_version_is_read_as_far_as_it_goes(spec: dict[str, Any], tmp_path: Path) -> None:
    text = made(write_folder(tmp_path, [epoch(1)], spec={"kind": "distill", **spec}, result={"metrics": 3})).text
    assert "decoupled takes part" in text


def test_torn_and_repeated_lines(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, [epoch(1), epoch(2, losses={"box": float("nan")}), epoch(2)])
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('[1]\n{"event": "epoch"}\n{"event": "epoch", "epoch": 3, "los')
    assert [row.losses["box"] for row in read(folder).rows] == [4.0, 2.0]
    made(folder)


@pytest.mark.slow
def test_a_strangers_names_are_text(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>\"'&$\\frac{</style>_日本\ud800"
    spec = {**SPEC, "name": hostile, "dataset": hostile, "teacher": {"path": hostile}, "labels": {hostile: hostile}}
    line = epoch(1, losses={"box": 1.0, hostile: 2.0}, weights={hostile: 1.0})
    line["diagnostics"] |= {f"{hostile}/ratio": 1.0, f"{hostile}/P3": 1.0, f"{hostile}/P3/hidden_cells": 0.5}
    result = {**RESULT, "per_class": {hostile: {"AP": 1.0, "AP50": 2.0}}}
    folder = write_folder(tmp_path, [line, {**line, "epoch": 2}], spec, [(hostile, hostile)], result)
    page = made(folder)
    assert "script" not in page.tags
    assert page.text.count("<script>alert(1)</script>") > 5


def test_the_same_warning_is_told_once_with_its_count(tmp_path: Path) -> None:
    warnings = [("dataset", "two boxes are odd"), ("term_weak", "decoupled: weak"), ("dataset", "two boxes are odd")]
    text = made(write_folder(tmp_path, [epoch(1)], warnings=warnings)).text
    assert "dataset two boxes are odd (2 times)" in text
    assert "term_weak decoupled: weak" in text


def test_a_warning_is_told_with_its_epochs(tmp_path: Path) -> None:
    warnings = [
        ("dataset", "odd", None), ("term_weak", "decoupled: weak", 3), ("nan_recovery", "again", 4),
        ("nan_recovery", "again", 2), ("other", "of a stranger's", "3"),
    ]  # fmt: skip
    text = made(write_folder(tmp_path, [epoch(1)], warnings=warnings)).text
    for said in ("dataset odd", "term_weak epoch 3: decoupled: weak", "nan_recovery epochs 2 to 4: again (2 times)",
                 "other of a stranger's"):  # fmt: skip
        assert said in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"reason": "nan_loss", "message": "lost <b>", "problems": [{"where": "/train/lr0", "detail": "too high"}, 3]},
         "Why it failed nan_loss lost <b> /train/lr0 too high What each term did"),
        ({"message": 3, "problems": "x"}, "Why it failed 3 What each term did"),
    ],
)  # fmt: skip
def test_a_failure_is_told_with_what_was_at_fault(said: dict[str, Any], told: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, [epoch(1)])
    (folder / "failure.json").write_text(json.dumps(said))
    page = made(folder)
    assert "failed: 1 of 4 epochs" in page.text
    assert told in page.text


def test_an_evaluation_has_figures_and_no_curves(tmp_path: Path) -> None:
    spec = {"kind": "evaluate", "model": {"path": "m.pt"}, "dataset": "d.zip", "evaluation": {"split": "test"}}
    text = made(write_folder(tmp_path, [], spec, result=RESULT)).text
    assert "evaluate: m.pt on d.zip" in text
    assert "on the test images" in text
    assert "COCO protocol, maxDets 100 12.3 30.1" in text
    assert "tram - -" in text
    assert "An evaluation has no epochs to draw." in text


# -- what it says


@pytest.mark.parametrize(
    ("ratios", "judgement"),
    [([0.5, 9.0, 0.4], "fair"), ([1e-4, 1e-5, 0.5], "weak"), ([4.0, 0.1, 5.0], "strong")],
)
def test_a_term_is_judged_by_the_middle_of_its_probes(ratios: list[float], judgement: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, [epoch(i, ratio) for i, ratio in enumerate(ratios, start=1)])
    (verdict,) = verdicts(read(folder))
    assert verdict.judgement == judgement
    assert f"(median {number(sorted(ratios)[1])} ×)" in verdict.sentence
    assert "strongest through P3" in verdict.sentence
    assert "value 812 → 271" in verdict.sentence


def test_curves_and_verdicts_call_a_term_s_ratio_by_the_same_words(tmp_path: Path) -> None:
    history = read(write_folder(tmp_path, [epoch(1)]))
    (guides,) = (panel.guides for panel in panels(history) if panel.title.startswith("gradient of the weighted term"))
    assert set(guides) == {"hardly moves the student", "drowns the task"} <= set(CALLED.values())


def test_a_term_without_weight_is_off(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, [epoch(1, weights={"decoupled": 0.0})])
    assert verdicts(read(folder))[0].judgement == "off"


@pytest.mark.parametrize(
    ("cosines", "words"),
    [
        ([0.3, 0.4], "; with the task (median cosine 0.35, above 0 in 2 of 2 probes)"),
        ([-0.3, -0.4], "; against the task (median cosine -0.35, above 0 in 0 of 2 probes)"),
        ([0.6, 0.5, -0.2], "; mostly with the task (median cosine 0.5, above 0 in 2 of 3 probes)"),
        ([0.05, -0.02], "; neither with nor against the task (median cosine 0.015, above 0 in 1 of 2 probes)"),
    ],
)
def test_directions_in_words(cosines: list[float], words: str, tmp_path: Path) -> None:
    assert words in of_cosines(cosines, tmp_path)


def of_cosines(cosines: list[float], folder: Path) -> str:
    """The verdict on a term whose probes had these cosines."""
    lines = [epoch(i) for i in range(1, len(cosines) + 1)]
    for line, cosine in zip(lines, cosines, strict=True):
        line["diagnostics"]["decoupled/cosine"] = cosine
    return verdicts(read(write_folder(folder, lines)))[0].sentence


@pytest.mark.parametrize(
    ("cosines", "words"),
    [
        (
            [0.5, 0.4, 0.6, 0.3, 0.2, 0.1, -0.2, -0.3, -0.4],
            "; with the task at first, against the task at the end (median cosine 0.2, above 0 in 6 of 9 probes, "
            "mean 0.5 in the first third and -0.3 in the last)",
        ),
        (
            [-0.4, -0.3, -0.2, 0.2, 0.1, 0.2, 0.0, 0.1, -0.1],
            "; against the task at first, neither with nor against the task at the end (",
        ),
        ([0.9, 0.8, 0.9, 0.6, 0.5, 0.6, 0.3, 0.2, 0.4], "; with the task, less so at the end (median cosine 0.6,"),
        ([-0.2, -0.1, -0.3, -0.4, 0.1, -0.5, -0.6, -0.7, -0.8], "; mostly against the task, more so at the end ("),
    ],
)
def test_a_direction_that_turns_is_told(cosines: list[float], words: str, tmp_path: Path) -> None:
    assert words in of_cosines(cosines, tmp_path)


@pytest.mark.parametrize(
    "cosines",
    [
        [0.6, 0.5, 0.4, -0.2, -0.3, -0.4, -0.5, -0.6],  # too few to tell
        [0.3, 0.31, 0.29, 0.2, 0.2, 0.2, 0.15, 0.14, 0.16],  # too little to matter
        [0.9, -0.5, 0.6, 0.5, 0.4, 0.3, -0.6, 0.7, -0.1],  # no more than single batches differ
    ],
)
def test_what_single_batches_explain_is_no_turn(cosines: list[float], tmp_path: Path) -> None:
    sentence = of_cosines(cosines, tmp_path)
    assert "at first" not in sentence
    assert "at the end" not in sentence


def test_a_calibrated_weight_is_told_with_its_share(tmp_path: Path) -> None:
    calibrated = {**SPEC, "distillation": {**SPEC["distillation"], "calibration": {"share": 0.5, "mode": "start"}}}
    (verdict,) = verdicts(read(write_folder(tmp_path, [epoch(1, 0.5), epoch(2, 0.3)], calibrated)))
    assert "weight 0.1 (calibrated to 0.5 × the task's gradient)" in verdict.sentence
    assert "gradient 0.5 × the task's in epoch 1, 0.3 × in epoch 2" in verdict.sentence


def test_a_schedule_is_told_with_the_height_it_reached(tmp_path: Path) -> None:
    schedule = {"shape": "linear", "end": 0.2, "warmup_epochs": 2.0, "stop_epochs": 1.0}
    spec = {**SPEC, "distillation": {**SPEC["distillation"], "schedule": schedule}}
    lines = [epoch(i, weights={"decoupled": weight}) for i, weight in enumerate([0.01, 0.1, 0.02], start=1)]
    text = made(write_folder(tmp_path, lines, spec)).text
    assert "weight 0.01 → 0.1 → 0.02;" in text
    assert "up from 0 in the first 2 epochs, then linear to 0.2 times, off in the last 1." in text


def scheduled(folder: Path) -> Path:
    """A run of 6 epochs with a warm-up from 0 in the first and the last two without the terms."""
    lines = [epoch(number, ratio) for number, ratio in enumerate([0.0, 0.5, 0.25, 0.4, 0.0, 0.0], start=1)]
    for line, factor, weight in zip(lines, [0.0, 1, 1, 1, 0, 0], [0.1, 0.1, 0.1, 0.1, 0, 0], strict=True):
        line["weights"] = {"decoupled": weight}
        line["diagnostics"] |= {"schedule/factor": float(factor), "decoupled/cosine": 0.2 if factor else -0.9}
    schedule = {"shape": "constant", "end": 0.0, "warmup_epochs": 1.0, "stop_epochs": 2.0}
    spec = {**SPEC, "train": {"epochs": 6}, "distillation": {**SPEC["distillation"], "schedule": schedule}}
    return write_folder(folder, lines, spec)


def test_a_scheduled_term_is_judged_by_the_epochs_in_which_it_was_on(tmp_path: Path) -> None:
    (verdict,) = verdicts(read(scheduled(tmp_path)))
    assert verdict.judgement == "fair"
    for said in (
        "weight 0.1; ", "off in epochs 5 to 6; off when epoch 1 began and was probed; ",
        "gradient 0.5 × the task's in epoch 2, 0.4 × in epoch 4 (median 0.4 ×)",
        "with the task (median cosine 0.2, above 0 in 3 of 3 probes)", "value 812 → 203.",
    ):  # fmt: skip
        assert said in verdict.sentence


@pytest.mark.slow
def test_tables_count_the_epochs_in_which_a_term_was_on_and_say_which_they_leave_out(tmp_path: Path) -> None:
    folder = scheduled(tmp_path)
    table = parts(read(folder))
    assert table.rows[0][:4] == ["decoupled", "812 → 203", "4 → 3.2", "0.5 → 0.4"]
    assert table.rows[1][:4] == ["P3", "250 → 125", "3", "0.45 → 0.36"]
    assert (
        "What a term was while it was off does not count: off in epochs 5 to 6 and off when epoch 1 began and was "
        "probed."
    ) in made(folder).text


def test_curves_show_when_the_terms_were_off(tmp_path: Path) -> None:
    folder = scheduled(tmp_path)
    found = {panel.title.split(",")[0]: panel for panel in panels(read(folder))}
    of_terms = ["terms", "gradient of the weighted term", "cosine of the two gradients", "weights"]
    drawn = [[number for number, _ in found[title].lines[0].points] for title in of_terms]
    assert drawn == [[1, 2, 3, 4], [2, 3, 4], [2, 3, 4], [1, 2, 3, 4]]
    assert [found[title].off for title in of_terms] == [[(5, 6)]] * 4
    assert not found["task losses"].off
    assert {panel.epochs for panel in found.values()} == {(1, 6)}, "all panels have one axis of epochs"
    assert made(folder).text.count(" off ") >= len(of_terms)


def test_a_term_that_was_never_on_is_called_off_where_0_cannot_be_drawn(tmp_path: Path) -> None:
    lines = [epoch(number, 0.0, weights={"decoupled": 0.0, "other": 0.5}) for number in (1, 2)]
    run = read(write_folder(tmp_path, lines))
    (panel,) = (panel for panel in panels(run) if panel.title.startswith("gradient of"))
    assert [line.label for line in panel.lines] == ["decoupled (off)", "other"]
    assert not panel.off
    assert parts(run).rows[0][1] == "812 → 406"


def test_dead_channels_are_found_by_the_layers_of_the_term(tmp_path: Path) -> None:
    losses = [{"name": "decoupled", "layers": "backbone"}]
    line = epoch(1)
    line["diagnostics"] |= {"teacher/backbone-P3/dead_channels": 0.75, "student/backbone-P3/dead_channels": 0.5}
    table = parts(read(write_folder(tmp_path, [line], {**SPEC, "distillation": {"losses": losses}})))
    assert table.rows[1][-1] == "75.0%, 50.0%"


def test_curves_are_told_apart_without_colour(tmp_path: Path) -> None:
    for panel in panels(read(write_folder(tmp_path, [epoch(1), epoch(2)]))):
        looks = [(line.look, line.dash) for line in panel.lines]
        assert len(set(looks)) == len(looks)
    assert len(set(MARKERS)) == len(MARKERS) == len(COLOURS) == len(DARK)
    assert len(list(groupby(map(str, DASHES)))) == len(DASHES)


@pytest.mark.parametrize("loss", [3.00001, 3e7, 3e-7])
def test_one_epoch_is_seen_on_axes_without_offset(loss: float, tmp_path: Path) -> None:
    lines = [epoch(1, losses={"box": loss, "cls": loss * (1 + 1e-6), "decoupled": loss})]
    for panel in panels(read(write_folder(tmp_path, lines))):
        figure = Figure()
        axes = figure.subplots()
        draw(axes, panel, legend=0.2)
        figure.draw_without_rendering()
        assert axes.yaxis.get_offset_text().get_text() == ""
        first, last = axes.get_xlim()
        assert [place for place in axes.get_xticks() if first <= place <= last] == [1]
        curves = [line for line in axes.lines if line.get_color() in COLOURS]
        assert len(curves) == len(panel.lines)
        assert all(line.get_marker() in MARKERS for line in curves)


@pytest.mark.slow
def test_long_runs_stay_small(tmp_path: Path) -> None:
    made(write_folder(tmp_path, [epoch(i) for i in range(1, 1001)]))
    assert (tmp_path / "report.html").stat().st_size < 2**20


# -- the command


def test_the_command_prints_what_it_wrote(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, [epoch(1)])
    result = CliRunner().invoke(app, ["report", str(folder)])
    assert result.exit_code == 0, result.output
    assert result.output.split() == [str(folder / "report.html"), str(folder / "report.png")]


@pytest.mark.parametrize("content", [None, "{", "[1]"])
def test_a_folder_that_is_no_run_folder_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "resolved_spec.json").write_text(content)
    with pytest.raises(FolderError, match=r"^expected (a run folder|an object)"):
        write_report(tmp_path)
    assert isinstance(CliRunner().invoke(app, ["report", str(tmp_path)]).exception, FolderError)
    assert not (tmp_path / "report.html").exists()
