"""Whole studies of tiny trainings, in processes of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import pytest

from rdrkd.data import open_dataset
from rdrkd.errors import FolderError, ModelError, RdrkdError
from rdrkd.events import Epoch, Event
from rdrkd.files import claim, held
from rdrkd.reporter import Memory, Reporter
from rdrkd.run.run import Inputs, run
from rdrkd.spec import JOB_SPEC, TABLE_1, TABLE_2
from rdrkd.spec.study import Study
from rdrkd.study import results
from rdrkd.study.members import members_of, teacher_hash, teacher_spec
from rdrkd.study.panel import draw_panel
from rdrkd.study.report import write_report
from rdrkd.study.runner import Ended, Order, run_study
from tests.rdrkd.training.conftest import TRAIN
from tests.shared import find

pytestmark = pytest.mark.slow  # a process with torch for every member


def study(scenes: Path, weights: Path, **changes: Any) -> Study:
    spec = {
        "name": "tiny", "dataset": str(scenes), "teacher": {"model": {"path": str(weights)}},
        "student": {"architecture": "yolov8n-half"}, "methods": ["none", "decoupled"], "seeds": [0, 1],
        "train": {**TRAIN, "epochs": 2},
    }  # fmt: skip
    return Study.model_validate({**spec, **changes})


def order(out: Path, **options: Any) -> Order:
    return Order(out, device="cpu", jobs=2, command="a test", **options)


@pytest.fixture(scope="module")
def done(scenes: Path, teacher_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    out = tmp_path_factory.mktemp("study")
    return out, run_study(study(scenes, teacher_path), order(out), lambda _name: Memory())


def test_a_study_records_every_member(done: tuple[Path, Ended]) -> None:
    out, ended = done
    assert not ended.missing
    assert not ended.results["failures"]
    found = results.read(out / "study.json")
    assert [(m["method"], m["seed"]) for m in found["members"]] == [
        ("none", 0), ("none", 1), ("decoupled", 0), ("decoupled", 1)
    ]  # fmt: skip
    for member in found["members"]:
        assert set(member["metrics"]) == {"AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L"}
        assert len(member["curve"]) == 2
        assert member["seconds"] > 0
        assert member["memory_bytes"] > 0
        assert member["versions"]["device"].startswith("CPU")
        assert bool(member["teacher_sha256"]) == (member["method"] == "decoupled")
    assert found["command"] == "a test"
    assert found["versions"]["torch"]


def test_the_student_alone_is_trained_for_as_long_as_a_method_took_each_seed_alike(
    done: tuple[Path, Ended], scenes: Path, teacher_path: Path, tmp_path: Path
) -> None:
    longer = {"name": "none@time", "as_long_as": "decoupled"}
    slow = json.loads((done[0] / "study.json").read_text())
    for member in slow["members"]:  # as long as two and a half trainings of the student alone
        member["processor_seconds"] = 10.0 if member["method"] == "none" else 25.0
    known = tmp_path / "known.json"
    known.write_text(json.dumps(slow))
    spec = study(scenes, teacher_path, methods=["none", "decoupled", longer], decide={})
    ended = run_study(spec, order(tmp_path / "out", known=[known]), lambda _name: Memory())
    assert not ended.missing
    timed = [member for member in ended.results["members"] if member["method"] == "none@time"]
    assert [(m["seed"], m["epochs"], m["stretched"], m["as_long_as"]) for m in timed] == [
        (0, 5, 2.5, "decoupled"), (1, 5, 2.5, "decoupled")
    ]  # fmt: skip
    more = study(scenes, teacher_path, methods=["none", longer, "decoupled"], seeds=[0, 1, 2], decide={})
    again = run_study(more, order(tmp_path / "out"), lambda _name: Memory())
    third = next(m for m in again.results["members"] if (m["method"], m["seed"]) == ("none@time", 2))
    assert third["epochs"] == 5, "whatever the third seed's members took"
    write_report(again.results, tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "Decision (rule: mean at least +0.3, interval above 0): decoupled, AP at equal time: " in text


def test_what_is_done_is_not_trained_again(done: tuple[Path, Ended], scenes: Path, teacher_path: Path) -> None:
    out, ended = done
    started = time.monotonic()
    again = run_study(study(scenes, teacher_path), order(out), lambda _name: pytest.fail("nothing is to be trained"))
    assert time.monotonic() - started < 20
    assert again.results["members"] == ended.results["members"]


def test_members_known_from_elsewhere_are_not_trained(
    done: tuple[Path, Ended], scenes: Path, teacher_path: Path, tmp_path: Path
) -> None:
    names: list[str] = []

    def reporter(name: str) -> Memory:
        names.append(name)
        return Memory()

    known = [done[0] / "study.json"]
    more = study(scenes, teacher_path, seeds=[0, 2], methods=["none"])
    ended = run_study(more, order(tmp_path, known=known), reporter)
    assert [name.split("-seed-")[1][0] for name in names] == ["2"]
    found = [(member["method"], member["seed"]) for member in ended.results["members"]]
    assert found == [("none", 0), ("none", 2)], "the other study's other members are not of this one"


def test_a_member_that_fails_sinks_no_other(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    methods = ["none", {"name": "broken", "distillation": {"losses": [{"name": "ultralytics", "levels": [4]}]}}]
    ended = run_study(study(scenes, teacher_path, methods=methods, seeds=[0]), order(tmp_path), lambda _name: Memory())
    assert [m["method"] for m in ended.results["members"]] == ["none"]
    (failure,) = ended.results["failures"]
    assert (failure["method"], failure["reason"]) == ("broken", "incompatible_pair")
    assert [member.method for member in ended.missing] == ["broken"]


class StopAfter(Memory):
    """Asks for a stop after so many epochs."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.left = epochs

    def emit(self, event: Event) -> None:
        super().emit(event)
        if isinstance(event, Epoch):
            self.left -= 1
            self.stop = self.left <= 0


def test_a_study_that_was_stopped_goes_on_later(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    long = study(scenes, teacher_path, seeds=[0, 1], methods=["none"], train={**TRAIN, "epochs": 400})
    ended = run_study(long, Order(tmp_path, device="cpu"), lambda _name: StopAfter(3))
    assert [member.seed for member in ended.missing] == [0, 1]
    assert not ended.results["members"]
    assert not ended.results["failures"]
    history = tmp_path / ended.missing[0].folder / "metrics.jsonl"
    trained = len(history.read_text().splitlines())
    assert 3 <= trained < 400
    run_study(long, Order(tmp_path, device="cpu"), lambda _name: StopAfter(3))
    epochs = [json.loads(line)["epoch"] for line in history.read_text().splitlines()]
    assert len(epochs) > trained
    assert epochs == list(range(1, len(epochs) + 1))


def nothing(_name: str) -> Reporter:
    pytest.fail("nothing is to be trained")


TEACHER = {"model": {"architecture": "yolov8n-half"}, "train": {**TRAIN, "epochs": 1}}


def test_without_time_nothing_is_begun(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    for teacher in (TEACHER, {"model": {"path": str(teacher_path)}}):
        ended = run_study(study(scenes, teacher_path, teacher=teacher), order(tmp_path, seconds=0), nothing)
        assert len(ended.missing) == 4
    assert not list(tmp_path.glob("*-seed-*"))
    assert not list(tmp_path.glob("teacher-*"))


def test_a_teacher_is_trained_only_for_members_that_are_missing_and_need_it(scenes: Path, tmp_path: Path) -> None:
    names: list[str] = []

    def reporter(name: str) -> Memory:
        names.append(name)
        return Memory()

    alone = study(scenes, Path("unused"), teacher=TEACHER, seeds=[0], methods=["none"])
    ended = run_study(alone, order(tmp_path), reporter)
    assert len(ended.results["members"]) == 1
    assert [name.split("-seed-")[0] for name in names] == ["none"]


def test_one_study_at_a_time_runs_in_a_folder(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(FolderError, match="no other process writes to"):
        run_study(study(scenes, teacher_path), order(tmp_path), nothing)


def test_a_damaged_run_folder_sinks_no_other_member(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    small = study(scenes, teacher_path, seeds=[0], methods=["none", "decoupled"])
    damaged = run_study(small, order(tmp_path, seconds=0), nothing).missing[0]
    (tmp_path / damaged.folder).mkdir()
    (tmp_path / damaged.folder / "result.json").write_text("{}")
    ended = run_study(small, order(tmp_path), lambda _name: Memory())
    assert [member["method"] for member in ended.results["members"]] == ["decoupled"]
    (failure,) = ended.results["failures"]
    assert (failure["method"], failure["reason"]) == ("none", "internal")
    assert ended.failed
    (tmp_path / damaged.folder / "result.json").unlink()
    again = run_study(small, order(tmp_path), lambda _name: Memory())
    assert not again.failed
    assert not again.results["failures"]


def test_weights_that_cannot_be_read_are_refused_before_the_teacher_is_trained(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "s.pt").write_text("no weights")
    broken = study(scenes, Path("unused"), teacher=TEACHER, student={"path": str(tmp_path / "s.pt")})
    with pytest.raises(ModelError):
        run_study(broken, order(tmp_path / "out"), nothing)


def test_a_teacher_that_fails_is_named(scenes: Path, tmp_path: Path) -> None:
    teacher = study(scenes, Path("unused"), teacher=TEACHER, seeds=[0], methods=["decoupled"])
    folder = tmp_path / f"teacher-{teacher_hash(teacher)}"
    claim(tmp_path, "study folder")
    folder.mkdir()
    (folder / "result.json").write_text("{")
    with pytest.raises(RdrkdError, match=rf"the study's teacher failed: expected JSON in {folder.name}/result\.json"):
        run_study(teacher, order(tmp_path), lambda _name: Memory())


class FreezeAtFirstEpoch(Memory):
    """Stops a member's process, as a hanging disk would: it hears no SIGTERM."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.frozen = folder, 0

    def emit(self, event: Event) -> None:
        super().emit(event)
        if isinstance(event, Epoch) and not self.frozen:
            self.frozen = next(pid for pid in _processes(self.folder) if pid != os.getpid())
            os.kill(self.frozen, signal.SIGSTOP)
            self.stop = True


def test_a_member_that_does_not_listen_is_killed_after_its_grace(
    scenes: Path, teacher_path: Path, tmp_path: Path
) -> None:
    long = study(scenes, teacher_path, seeds=[0], methods=["none"], train={**TRAIN, "epochs": 400})
    member = FreezeAtFirstEpoch(tmp_path)
    ended = run_study(long, Order(tmp_path, device="cpu", grace=1), lambda _name: member)
    assert member.frozen
    assert not list(_processes(tmp_path))
    assert len(ended.missing) == 1
    assert not ended.results["failures"]


def test_a_member_goes_on_in_another_study_and_with_other_paths(
    scenes: Path, teacher_path: Path, tmp_path: Path
) -> None:
    train = {**TRAIN, "epochs": 4}
    options = {"seeds": [0], "methods": ["decoupled"], "train": train}
    first = run_study(study(scenes, teacher_path, **options), order(tmp_path / "out"), lambda _name: StopAfter(1))
    history = tmp_path / "out" / first.missing[0].folder / "metrics.jsonl"
    assert 1 <= len(history.read_text().splitlines()) < 4
    shutil.copytree(scenes.parent, tmp_path / "moved")
    shutil.copy(teacher_path, tmp_path / "moved.pt")
    memory = Memory()
    other = study(tmp_path / "moved" / scenes.name, tmp_path / "moved.pt", **options, name="other")
    ended = run_study(other, order(tmp_path / "out"), lambda _name: memory)
    assert not ended.failed, ended.results["failures"]
    assert [member["method"] for member in ended.results["members"]] == ["decoupled"]
    assert len([event for event in memory.events if isinstance(event, Epoch)]) < 4
    assert [json.loads(line)["epoch"] for line in history.read_text().splitlines()] == [1, 2, 3, 4]


def test_the_teacher_is_trained_first_and_counts_by_its_recipe(scenes: Path, tmp_path: Path) -> None:
    teacher = {"model": {"architecture": "yolov8n-half"}, "train": {**TRAIN, "epochs": 1}}
    ended = run_study(
        study(scenes, Path("unused"), teacher=teacher, seeds=[0], methods=["decoupled"]), order(tmp_path),
        lambda _name: Memory(),
    )  # fmt: skip
    (recorded,) = ended.results["teachers"].values()
    (member,) = ended.results["members"]
    assert recorded["sha256"] == member["teacher_sha256"]
    assert recorded["train"]["epochs"] == 1


def test_without_a_teacher_there_is_no_study(scenes: Path, tmp_path: Path) -> None:
    absent = study(scenes, Path("x"), teacher={"model": {"path": str(tmp_path / "x.pt")}})
    with pytest.raises(ModelError, match=r"expected a weights file, got nothing at x\.pt"):
        run_study(absent, order(tmp_path), nothing)


def test_the_report_stands_for_itself(done: tuple[Path, Ended], scenes: Path, tmp_path: Path) -> None:
    out, ended = done
    panel = draw_panel(ended.members, out, tmp_path, scenes)
    assert panel is not None
    written = write_report(ended.results, tmp_path, panel)
    assert {path.name for path in written} == {
        "report.md", "report.html", "members.csv", "curves.png", "differences.png", "panel.png",
    }  # fmt: skip
    for name in ("curves.png", "differences.png", "panel.png"):
        picture = cv2.imread(str(tmp_path / name))
        assert picture is not None
        assert picture.std() > 1
    page = (tmp_path / "report.html").read_text()
    HTMLParser().feed(page)
    assert 'src="data:image/png;base64,' in page
    assert "http" not in page.replace("http-equiv", "")
    text = (tmp_path / "report.md").read_text()
    assert "decoupled: AP" in text
    assert "over 2 paired seeds" in text
    assert "a test" in text


def test_the_command_line_runs_merges_and_reports(
    done: tuple[Path, Ended], scenes: Path, teacher_path: Path, tmp_path: Path
) -> None:
    def rdrkd(*arguments: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rdrkd", "study", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    spec = tmp_path / "study.yaml"
    spec.write_text(json.dumps(study(scenes, teacher_path, seeds=[0]).model_dump(mode="json", exclude_unset=True)))
    known = ("--known", done[0] / "study.json")
    ran = rdrkd("run", spec, "--out", tmp_path / "out", "--device", "cpu", *known)
    assert ran.returncode == 0, ran.stderr
    assert "decoupled" in ran.stdout
    merged = rdrkd("merge", tmp_path / "out" / "study.json", done[0] / "study.json", "--output", tmp_path / "all.json")
    assert merged.returncode == 0, merged.stderr
    assert len(results.read(tmp_path / "all.json")["members"]) == 4
    reported = rdrkd("report", tmp_path / "all.json", "--out", tmp_path / "report")
    assert reported.returncode == 0, reported.stderr
    assert (tmp_path / "report" / "report.html").is_file()
    refused = rdrkd("report", spec, "--out", tmp_path / "report")
    assert refused.returncode == 3
    assert "a study's results" in refused.stderr


def train_here(whole: Study, out: Path) -> None:
    """Train a study's runs in this process, which saves the start of one for each; a study then finds them done."""
    claim(out, "study folder")
    cache = out / "cache"
    inputs = Inputs(device="cpu", cache=cache)
    teacher = out / f"teacher-{teacher_hash(whole)}"
    run(JOB_SPEC.validate_python(teacher_spec(whole)), teacher, Memory(), inputs)
    sha256 = open_dataset(Path(whole.dataset), cache).sha256
    for member in members_of(whole, sha256, {"path": str((teacher / "student.pt").resolve())}):
        run(JOB_SPEC.validate_python(member.spec), out / member.folder, Memory(), inputs)


def test_every_row_of_the_papers_tables_trains_on_real_images(scenes: Path, tmp_path: Path) -> None:
    real = find("data/hit_uav_tiny.zip")
    methods = ["table1", "table2", "bckd", "rdr-kd-paper", "ultralytics"]
    small = {**TRAIN, "epochs": 1, "imgsz": 96}
    every = study(real or scenes, Path("unused"), methods=methods, seeds=[0], train=small, teacher={**TEACHER})
    train_here(every, tmp_path)
    told = Memory()
    ended = run_study(every, order(tmp_path), lambda _name: told)
    assert not told.events  # nothing was left to be trained
    assert not ended.results["failures"]
    names = {member["method"] for member in ended.results["members"]}
    assert names == {*map(str, TABLE_1), *map(str, TABLE_2), "bckd", "rdr-kd-paper", "ultralytics"}
    for member in ended.results["members"]:
        terms = (member["terms"] or {"losses": []})["losses"]
        assert (not terms) == (member["method"] == "none")
        assert all(f"{term['name']}" in member["curve"][0]["losses"] for term in terms), member["method"]
    report = (write_report(ended.results, tmp_path) and (tmp_path / "report.md")).read_text()
    assert all(f"| {name} |" in report for name in names)


def test_a_killed_study_leaves_no_process_and_goes_on(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    spec = tmp_path / "study.yaml"
    long = study(scenes, teacher_path, seeds=[0], methods=["none"], train={**TRAIN, "epochs": 400})
    spec.write_text(json.dumps(long.model_dump(mode="json", exclude_unset=True)))
    command = [
        sys.executable,
        "-m",
        "rdrkd",
        "study",
        "run",
        str(spec),
        "--out",
        str(tmp_path / "out"),
        "--device",
        "cpu",
    ]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not list((tmp_path / "out").glob("none-*/checkpoints/0002")):
            assert parent.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    time.sleep(1)
    assert not list(_processes(tmp_path / "out"))


def _processes(folder: Path) -> Iterator[int]:
    """Yield the processes that name a folder in their command line."""
    for process in Path("/proc").glob("[0-9]*"):
        if str(folder).encode() in _command_line(process):
            yield int(process.name)


def _command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
