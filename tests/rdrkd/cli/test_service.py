"""`rdrkd jobs` and its sisters on a live service: what they print, and with which status they leave."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from api.jobs.logs import service as logs
from api.tables.states import Status
from rdrkd.cli import checked_uploads, inputs
from rdrkd.cli.epoch_words import cell_of
from rdrkd.cli.following import Follower, line_of
from rdrkd.cli.job_view import lines_of
from rdrkd.cli.main import app
from rdrkd.cli.run_output import show_failure
from rdrkd.cli.terminal import COLUMNS, Terminal
from rdrkd.cli.uploads import end_of_upload
from rdrkd.client import Client, Dataset, Refused, calls
from rdrkd.data.scenes import write_scenes
from rdrkd.epochs import place_of
from rdrkd.process.process import failure_of
from tests.api.uploads.datasets.previews import PICTURE, with_preview
from tests.api.uploads.models.registered import ready, settle, student
from tests.rdrkd.client.conftest import Live, live, migrated

__all__ = ["live", "migrated"]

Command = Callable[..., Result]


@pytest.fixture
def command(live: Live, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("RDRKD_URL", live.url)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("RDRKD_TOKEN", raising=False)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def lines(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_spec_with_files_is_sent_with_them(live: Live, command: Command, tmp_path: Path) -> None:
    (tmp_path / "scenes.zip").write_bytes(b"a zip")
    (tmp_path / "l.pt").write_bytes(b"weights")
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "kind: distill\nteacher: {path: l.pt}\nstudent: {architecture: yolov8n}\ndataset: scenes.zip\nname: mine\n"
    )

    result = command("jobs", "submit", spec, "--json")

    assert result.exit_code == 0, result.stderr
    (job,) = lines(result)
    assert (job["status"], job["name"], job["kind"]) == ("queued", "mine", "distill")
    dataset, model = next(iter(live.client.get("/v1/datasets").json()["data"])), live.client.get("/v1/models").json()
    assert job["spec"]["dataset"] == dataset["id"]
    assert job["spec"]["teacher"] == {"model": model["data"][0]["id"]}
    assert "scenes.zip is ds_" in result.stderr


STUDY = "name: s\nstudent: {architecture: yolov8n}\nmethods: [none, rdr-kd]\nseeds: [0]\ntrain: {epochs: 2}\n"


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (
            "jobs",
            "kind: distill\nteacher: {path: l.pt}\nstudent: {architecture: yolov8n}\ntrain: {epoch: 3}\n",
            "epochs",
        ),
        ("jobs", "kind: distill\nteacher: {path: l.pt}\nstudent: {architecture: yolov9}\n", "student"),
        ("jobs", "kind: train\nmodel: {path: l.pt}\ntrain: {imgsz: 100}\n", "imgsz"),
        ("jobs", "kind: distill\nteacher: {job: job_0}\nstudent: {path: l.pt}\n", "/teacher/job"),
        ("studies", f"{STUDY}teacher: {{model: {{path: l.pt}}}}\nsurprise: 1\n", "surprise"),
        ("studies", f"{STUDY}teacher: {{model: {{path: l.pt}}}}\ndecide: {{metric: x}}\n", "decide"),
    ],
)
def test_a_spec_that_is_refused_uploads_nothing(
    live: Live, command: Command, tmp_path: Path, kind: str, text: str, words: str
) -> None:
    (tmp_path / "scenes.zip").write_bytes(b"zip of a refused spec")
    (tmp_path / "l.pt").write_bytes(b"weights of a refused spec")
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"{text}dataset: scenes.zip\n")
    had = [live.client.get(f"/v1/{what}").json()["data"] for what in ("datasets", "models")]

    result = command(kind, "submit", spec)

    assert result.exit_code != 0
    assert isinstance(result.exception, Refused), result.exception
    told = [*result.exception.problems]
    assert any(words in f"{one.where} {one.detail}" for one in told), told
    assert not any("path" in one.where for one in told)
    assert [live.client.get(f"/v1/{what}").json()["data"] for what in ("datasets", "models")] == had


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- 1\n", "got a list"),
        ("a: [", "expected the node content"),
        ("", "got an empty file"),
        ("a:\tb: c", "in line 1"),
        ("kind: train\nmodel: {architecture: yolov8n}\ndataset: nowhere.zip\n", "/dataset"),
        ("kind: train\nmodel: {path: .}\ndataset: ds_1\n", "(a folder)"),
    ],
)
def test_a_spec_that_cannot_be_sent(command: Command, tmp_path: Path, text: str, words: str) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(text)

    result = command("jobs", "submit", spec)

    assert result.exit_code != 0
    error = result.exception
    assert words in f"{error} {[f'{each.where} {each.detail}' for each in getattr(error, 'problems', ())]}"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A teacher's file and a dataset as a folder, with a data YAML that names it by lists."""
    (tmp_path / "l.pt").write_bytes(b"weights")
    write_scenes(tmp_path / "scenes", "demo", {"train": 3, "val": 2}, 96)
    return tmp_path


@pytest.mark.parametrize("data", ["scenes", "scenes/data.yaml"])
def test_a_job_from_options_alone(
    live: Live, command: Command, files: Path, monkeypatch: pytest.MonkeyPatch, data: str
) -> None:
    monkeypatch.setattr(checked_uploads, "_CHECK_SECONDS", 0.0)  # no worker runs here
    options = ("--teacher", files / "l.pt", "--student", "yolov8n", "--data", files / data, "--imgsz", 160)

    first = command("jobs", "submit", *options, "--epochs", 5, "--name", "mine", "--json")
    again = command("jobs", "submit", *options, "--json")

    assert (first.exit_code, again.exit_code) == (0, 0), first.stderr + again.stderr
    (job,), (other,) = lines(first), lines(again)
    assert job["name"] == "mine"
    assert job["spec"]["train"]["epochs"] == 5
    assert job["spec"]["train"]["imgsz"] == 160
    assert job["spec"]["train"]["optimizer"] == "AdamW"
    assert job["spec"]["distillation"]["preset"] == "rdr-kd"
    assert "imgsz 160: as --imgsz says" in first.stderr
    assert ": waiting for its check ..." in first.stderr
    assert (other["name"], other["spec"]["dataset"]) == ("yolov8n-from-l", job["spec"]["dataset"])
    assert "sending" not in again.stderr, "a second submit uploads nothing"
    assert len(live.client.get("/v1/datasets").json()["data"]) == len(live.client.get("/v1/models").json()["data"]) == 1


@pytest.mark.parametrize(("option", "kind"), [("--data", "datasets"), ("--teacher", "models")])
def test_an_upload_that_its_check_refuses_stops_the_submission(
    live: Live, command: Command, files: Path, option: str, kind: str
) -> None:
    """All problems come before the first setting is chosen, with the option and what it names."""
    (files / "scenes.zip").write_bytes(b"a zip")
    given = {"--teacher": files / "l.pt", "--data": files / "scenes.zip"}
    for each, what in (("--teacher", "models"), ("--data", "datasets")):
        command(what, "upload", given[each])
        live.settle(*([f"problem {n}" for n in range(12)] if each == option else []))
    given |= {option: live.client.get(f"/v1/{kind}").json()["data"][0]["id"]}  # a file would be sent again

    result = command("jobs", "submit", *(part for pair in given.items() for part in pair), "--student", "yolov8n")

    problems = result.exception.problems  # type: ignore[union-attr]
    assert [each.where for each in problems] == [option] * 11
    assert problems[0].detail == f"{given[option]}: data.yaml: problem 0"
    assert problems[10].detail == f"{given[option]}: and 2 other problems"
    assert "imgsz" not in result.stderr, "no settings of a job that cannot be"
    assert "waiting for its check" not in result.stderr, "both were checked before"
    assert live.client.get("/v1/jobs").json()["data"] == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"--student": "yolov8q"},
            "--student: expected a weights file or an architecture, or a model or job of the service, got 'yolov8q'",
        ),
        ({"--teacher": "gone.pt"}, "--teacher: expected a weights file"),
        ({"--teacher": "n-halv"}, "or a model or job of the service, got 'n-halv'"),
        ({"--data": "gone.zip"}, "--data: expected a dataset (folder, data YAML, zip or tar), got 'gone.zip' (no such"),
        ({"--data": "surveyed"}, "or a dataset of the service, got 'surveyed'"),
        ({"--data": "yolov8n", "--student": "yolov8q"}, "yolov8q"),
        ({"--data": "yolov8n", "--student": "yolov8q"}, "is it meant for --student?"),
        ({"--imgsz": "100"}, "--imgsz"),
        ({"--imgsz": "1", "--epochs": "0", "--batch": "x", "--data": "gone.zip"}, "--data: expected a dataset"),
        ({"--imgsz": "1", "--epochs": "0", "--batch": "x", "--data": "gone.zip"}, "--epochs: expected a value"),
        ({"--imgsz": "1", "--epochs": "0", "--batch": "x", "--data": "gone.zip"}, "--imgsz: expected a multiple"),
        ({"--imgsz": "1", "--epochs": "0", "--batch": "x", "--data": "gone.zip"}, "--batch: expected a valid integer"),
        ({"--preset": "none-such"}, "--preset"),
    ],
)
def test_bad_options_are_refused_before_anything_is_sent(
    live: Live, command: Command, files: Path, changed: dict[str, str], words: str
) -> None:
    options = {"--teacher": files / "l.pt", "--student": "yolov8n", "--data": files / "scenes"} | changed
    had = live.client.get("/v1/models").json()["data"]

    result = command("jobs", "submit", *(part for pair in options.items() for part in pair))

    assert result.exit_code != 0
    assert words in " ".join(f"{each.where}: {each.detail}" for each in getattr(result.exception, "problems", ()))
    assert live.client.get("/v1/datasets").json()["data"] == []
    assert live.client.get("/v1/models").json()["data"] == had


def test_names_of_the_service_are_resolved_and_suggested(
    command: Command, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submitted(**options: object) -> Result:
        return command(
            "jobs", "submit", *(part for pair in options.items() for part in (f"--{pair[0]}", pair[1]) if part != "")
        )

    (model,) = lines(command("models", "upload", files / "l.pt", "--name", "n-half", "--json"))
    (dataset,) = lines(command("datasets", "upload", files / "scenes", "--name", "surveys", "--json"))
    mistyped = submitted(teacher="n-halv", student="n-alf", data="survey")

    (first, second, third) = mistyped.exception.problems  # type: ignore[union-attr]
    assert "did you mean `n-half`?" in first.detail
    assert "did you mean `n-half`?" in second.detail
    assert "did you mean `surveys`?" in third.detail
    monkeypatch.setattr(checked_uploads, "_CHECK_SECONDS", 0.0)  # no worker runs here
    (job,) = lines(submitted(teacher="n-half@1", student="n-half", data="surveys@1", imgsz=160, json=""))
    assert {job["spec"][each]["model"] for each in ("teacher", "student")} == {model["id"]}
    assert job["spec"]["dataset"] == dataset["id"]


def test_jobs_are_listed_for_people_and_programs(live: Live, command: Command) -> None:
    first, second = live.job(name="one"), live.job(name="two")

    table, rows = command("jobs", "list"), lines(command("jobs", "list", "--json", "--limit", 1))

    assert table.stdout.index(second) < table.stdout.index(first)
    assert "one" in table.stdout
    assert [row["id"] for row in rows] == [second]
    assert lines(command("jobs", "list", "--json", "--status", "failed")) == []
    assert lines(command("jobs", "show", first, "--json"))[0]["name"] == "one"


def test_a_job_is_shown_in_a_few_lines(live: Live, command: Command) -> None:
    job = live.job(name="mine")
    held = live.bring(job, Status.RUNNING)
    live.epoch(held, 1)
    shown = command("jobs", "show", job).stdout
    headings = [line.split()[0] for line in shown.splitlines() if not line.startswith(" ")]
    assert headings[:3] == ["job", "kind", "state"]
    assert {"dataset", "created"} <= set(headings)
    assert f"{job} mine" in shown
    assert "running" in shown
    assert len(shown.splitlines()) < 20
    live.end(held, Status.FAILED)
    assert "failed" in command("jobs", "show", "mine").stdout


@pytest.mark.parametrize(("status", "code"), [(Status.SUCCEEDED, 0), (Status.FAILED, 3), (Status.CANCELLED, 3)])
def test_watching_ends_with_the_job(live: Live, command: Command, status: Status, code: int) -> None:
    job = live.job()
    if status == Status.CANCELLED:
        live.client.post(f"/v1/jobs/{job}/cancel")
    else:
        held = live.bring(job, Status.RUNNING)
        threading.Timer(0.5, live.end, (held, status)).start()

    result = command("jobs", "watch", job)

    assert result.exit_code == code
    assert f"{job}: {status}" in result.stderr
    assert result.stdout == ""


def test_the_wait_may_end_first(live: Live, command: Command) -> None:
    result = command("jobs", "watch", live.job(), "--timeout", 1)

    assert result.exit_code == 5
    assert "continues" in result.stderr


def test_a_cancel_is_told_as_it_is(live: Live, command: Command) -> None:
    running = live.job()
    live.bring(running, Status.RUNNING)

    assert f"{running}: cancelling" in command("jobs", "cancel", running).stderr


def test_a_table_is_written_for_people() -> None:
    """Bytes have a unit and times no fractions; `--json` has both exactly."""
    terminal, written = Terminal(as_json=False), StringIO()
    terminal.out = Console(file=written, width=200, color_system=None)
    row = {"id": "mdl_1", "shared": True, "size": 6202353, "created_at": "2026-11-30T02:34:08.708000Z"}
    terminal.many("models", [row])
    assert written.getvalue().split()[-5:] == ["yes", "5.9", "MiB", "2026-11-30", "02:34:08Z"]


def test_a_job_is_paused_resumed_retried_and_deleted(live: Live, command: Command) -> None:
    job = live.job()

    assert f"{job}: paused" in command("jobs", "pause", job, "--now").stderr
    assert f"{job}: queued" in command("jobs", "resume", job).stderr
    live.bring(job, Status.FAILED)
    assert f"{job}: queued" in command("jobs", "retry", job, "--scratch").stderr
    assert command("jobs", "cancel", job).exit_code == 0
    assert f"{job}: deleted" in command("jobs", "delete", job).stderr
    assert live.client.get(f"/v1/jobs/{job}").status_code == 404


def test_logs_workers_and_the_queue(live: Live, command: Command, tmp_path: Path) -> None:
    job = live.job()
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"kind: train\nmodel: {{architecture: yolov8n}}\ndataset: {live.dataset()}\n")

    assert command("jobs", "logs", job).stdout == ""
    assert lines(command("workers", "list", "--json")) == []
    assert lines(command("workers", "queue", "--json"))[0]["counts"]["queued"] == 1
    assert '"resolved_spec"' in command("jobs", "validate", spec).stdout


def test_weights_and_other_files(live: Live, command: Command, tmp_path: Path) -> None:
    held = live.bring(live.job(), Status.RUNNING)
    for name, content in (("student.pt", b"weights"), ("report.html", b"<html>")):
        live.publish(held, 1, content, tmp_path, name)
    live.epoch(held, 1)

    weights = command("jobs", "weights", held.id, "--output", tmp_path / "best.pt")
    report = command("jobs", "weights", held.id, "-o", tmp_path / "r.html", "--artifact", "report.html")

    assert (weights.exit_code, weights.stdout.strip()) == (0, str(tmp_path / "best.pt"))
    assert (tmp_path / "best.pt").read_bytes() == b"weights"
    assert (report.exit_code, (tmp_path / "r.html").read_bytes()) == (0, b"<html>")
    assert "student.pt" in command("jobs", "artifacts", held.id).stdout
    mistyped = command("jobs", "weights", held.id, "-o", tmp_path / "x.html", "--artifact", "reprt.html")
    assert "did you mean `report.html`?" in str(mistyped.exception)
    assert [epoch["epoch"] for epoch in lines(command("jobs", "metrics", held.id))] == [1]


def test_weights_of_a_job_that_still_runs_say_from_which_epoch(live: Live, command: Command, tmp_path: Path) -> None:
    held = live.bring(live.job(), Status.RUNNING)
    live.publish(held, 6, b"weights", tmp_path, "student.pt")

    early = command("jobs", "weights", held.id, "-o", tmp_path / "a.pt")
    live.end(held, Status.SUCCEEDED)

    assert re.fullmatch(r"from epoch 6( of \d+)?: the job is still running\n", early.stderr)
    assert command("jobs", "weights", held.id, "-o", tmp_path / "a.pt").stderr == ""


def test_a_baselines_files_and_epochs_are_counted_on_their_own(live: Live, command: Command, tmp_path: Path) -> None:
    held = live.with_baseline(epochs=2)
    for epoch in (1, 2, 3):
        live.epoch(held, epoch, part="student" if epoch < 3 else "alone")
    for name in ("student.pt", "alone.pt"):
        live.publish(held, 3, b"weights", tmp_path, name)

    note = command("jobs", "weights", held.id, "-o", tmp_path / "a.pt").stderr
    files = [line.split()[:3] for line in command("jobs", "artifacts", held.id).stdout.splitlines()]
    told = command("jobs", "events", held.id).stdout

    assert note == "from epoch 2 of 2: the job is still running\n"
    assert ["student.pt", "2/2", "7"] in files
    assert ["alone.pt", "1/2", "alone"] in files
    assert "1/2 alone" in told
    assert "3/" not in told
    metrics = {
        part: lines(command("jobs", "metrics", held.id, "--part", part)) for part in ("student", "alone", "both")
    }
    assert lines(command("jobs", "metrics", held.id)) == metrics["student"]
    assert {part: [row["part_epoch"] for row in rows] for part, rows in metrics.items()} == {
        "student": [1, 2], "alone": [1], "both": [1, 2, 1]
    }  # fmt: skip


def test_a_download_goes_into_a_folder_and_overwrites_only_what_is_named(
    live: Live, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = live.bring(live.job(), Status.RUNNING)
    live.publish(held, 1, b"weights", tmp_path, "student.pt")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    first, second = command("jobs", "weights", held.id), command("jobs", "weights", held.id)
    folder, named, wrong = (command("jobs", "weights", held.id, "-o", name) for name in (here, "student.pt", "s.txt"))

    assert (first.exit_code, first.stdout) == (0, "student.pt\n")
    assert second.exit_code == 2
    assert "student.pt exists already: `--output student.pt` overwrites it" in second.stderr
    assert folder.exit_code == 2, "the file in it was not named"
    assert (named.exit_code, named.stdout.strip()) == (0, "student.pt")
    assert wrong.exit_code == 2
    assert "--output s.txt: expected a file named *.pt or *.safetensors, got s.txt" in wrong.stderr
    assert [each.name for each in here.iterdir()] == ["student.pt"]


@pytest.mark.parametrize(
    "what",
    [
        ("jobs", "weights", "job_0", "-o", "nodir/x.pt"),
        ("models", "download", "mdl_0", "-o", "nodir/x.pt"),
        ("datasets", "preview", "ds_0", "-o", "nodir/x.jpg"),
        ("jobs", "weights", "job_0", "--artifact", "report.html", "-o", "nodir/x.html"),
        ("studies", "report", "stu_0", "-o", "nodir/x.html"),
        ("studies", "merge", "study.json", "--output", "nodir/x.json"),
    ],
)
def test_an_output_in_a_folder_that_does_not_exist(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = command(*what)
    assert refused.exit_code == 2
    assert f"--output {what[-1]}: expected an existing folder, got no nodir" in refused.stderr


@pytest.mark.parametrize(("feature", "filename"), [("datasets", "a.zip"), ("models", "a.pt")])
def test_uploads(live: Live, command: Command, tmp_path: Path, feature: str, filename: str) -> None:
    (tmp_path / filename).write_bytes(b"content")

    sent = command(feature, "upload", tmp_path / filename, "--name", "mine", "--json")
    live.settle("broken")

    (row,) = lines(sent)
    assert (sent.exit_code, row["status"], row["name"]) == (0, "checking", "mine")
    assert lines(command(feature, "show", row["id"], "--json"))[0]["status"] == "invalid"
    assert row["id"] in command(feature, "list").stdout
    threading.Timer(1.0, live.settle, ("broken",)).start()
    waited = command(feature, "upload", tmp_path / filename, "--wait")
    assert waited.exit_code == 3
    assert ": waiting for its check ..." in waited.stderr
    assert re.fullmatch(r"(ds|mdl)_\w+\n", waited.stdout), "its id, for scripts"
    assert "ERROR " in waited.stderr
    assert f"rdrkd {feature} show {waited.stdout.strip()}" in waited.stderr


def test_a_dataset_written_like_a_model_is_one_problem(live: Live, command: Command, files: Path) -> None:
    spec = files / "odd.yaml"
    spec.write_text("kind: train\nmodel: {architecture: yolov8n}\ndataset: {path: scenes.zip}\n")
    for of in ("validate", "submit"):
        refused = command("jobs", of, spec).exception
        assert isinstance(refused, Refused)
        (problem,) = refused.problems
        assert problem.where == "/dataset"
        assert problem.detail.endswith(": write scenes.zip, or on the service the id of a dataset")


def test_a_submission_warns_of_equal_weights(live: Live, command: Command, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    (tmp_path / "a.pt").write_bytes(b"weights")
    model = command("models", "upload", tmp_path / "a.pt").stdout.strip()
    same = f"{{model: {model}}}"
    spec.write_text(f"kind: distill\ndataset: {live.dataset()}\nteacher: {same}\nstudent: {same}\n")
    sent = command("jobs", "submit", spec)
    assert sent.exit_code == 0, sent.output
    assert "warning: the student starts from the teacher's own weights" in sent.stderr
    assert sent.stdout.startswith("job_")


def test_no_command_prints_json_to_people(live: Live, command: Command, tmp_path: Path) -> None:
    spec = study_spec(live, tmp_path, "none, cwd")
    study = command("studies", "submit", spec).stdout.strip()
    webhook = str(lines(command("webhooks", "create", "https://93.184.216.34/hook", "--json"))[0]["id"])
    (tmp_path / "a.pt").write_bytes(b"weights")
    dataset, model = live.dataset(), command("models", "upload", tmp_path / "a.pt").stdout.strip()
    for group, id_ in (("studies", study), ("webhooks", webhook), ("datasets", dataset), ("models", model)):
        shown = command(group, "show", id_)
        assert shown.exit_code == 0, shown.output
        assert id_ in shown.stdout
        assert not {"{", "}", '"'} & set(shown.stdout), shown.stdout
        assert len(shown.stdout.splitlines()) < 20
    assert "cwd 1: job_" in command("studies", "show", study).stdout
    assert "{" not in command("workers", "queue").stdout
    assert "{" not in command("studies", "extend", study, "--seed", 7).stdout


def test_the_end_of_an_upload_is_its_content_and_the_next_command(capsys: pytest.CaptureFixture[str]) -> None:
    report = {
        "warnings": ["no val split"], "names": ["car"], "statistics": {"splits": {"train": {"images": 3}}, "boxes": 4},
    }  # fmt: skip
    row = Dataset.model_validate(
        {"id": "ds_1", "name": None, "filename": "a.zip", "status": "ready", "size": 9, "sha256": "0", "problems": [],
         "report": report, "created_at": "2026-01-01T00:00:00Z"}
    )  # fmt: skip
    with pytest.raises(typer.Exit) as left:
        end_of_upload(row, Terminal(as_json=False), None)
    printed = capsys.readouterr()
    assert (left.value.exit_code, printed.out) == (0, "ds_1\n")
    assert printed.err.splitlines() == [
        "WARNING no val split",
        "ok: 3 train images, 4 objects, 1 class (car); use it with `rdrkd jobs submit --data ds_1 ...`",
    ]


@pytest.mark.parametrize(("feature", "filename"), [("datasets", "scenes.zip"), ("models", "teacher.pt")])
def test_an_upload_is_shared_and_taken_back(
    live: Live, command: Command, tmp_path: Path, feature: str, filename: str
) -> None:
    (tmp_path / filename).write_bytes(b"PK\x05\x06" + bytes(18))
    (row,) = lines(command(feature, "upload", tmp_path / filename, "--json"))
    for reader in ("*", "survey-team"):
        command(feature, "share", row["id"], "--with", reader, "--json")
    shared = lines(command(feature, "shares", row["id"], "--json"))
    assert [share["reader"] for share in shared] == ["*", "survey-team"]
    (left,) = lines(command(feature, "unshare", row["id"], "--with", "*", "--json"))
    assert command(feature, "share", row["id"]).exit_code == 2  # not with everyone by an oversight
    assert left["reader"] == "survey-team"


def test_a_dataset_with_versions_and_a_preview(live: Live, command: Command, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"content")
    uploads = [command("datasets", "upload", tmp_path / "a.tar.gz", "--name", "mine", "--json") for _ in range(2)]
    lenient = command("datasets", "upload", tmp_path / "a.tar.gz", "--name", "mine", "--lenient", "--json")
    first, second, third = (lines(sent)[0] for sent in (*uploads, lenient))

    assert [row["version"] for row in (first, second, third)] == [1, 2, 3]
    assert (second["same_content_as"], third["same_content_as"], third["lenient"]) == (first["id"], None, True)
    assert f"the same content as {first['id']}" in uploads[1].stderr

    for _ in range(3):
        live.settle("no")
    pictured = with_preview(live)
    got = command("datasets", "preview", pictured, "-o", tmp_path / "p.jpg")
    assert (got.exit_code, (tmp_path / "p.jpg").read_bytes()) == (0, PICTURE)


def test_a_folder_of_the_service(live: Live, command: Command) -> None:
    folder = live.storage.root.parent / "surveys"
    (folder / "one").mkdir(parents=True)
    (folder / "one/a.txt").write_text("x")
    live.app.state.settings = live.app.state.settings.model_copy(update={"dataset_folders": [folder]})

    (row,) = lines(command("datasets", "import", "surveys/one", "--name", "mine", "--json"))

    assert (row["version"], row["filename"]) == (1, "one.tar")


def test_a_spec_may_name_a_dataset(live: Live, command: Command, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"content")
    (dataset,) = lines(command("datasets", "upload", tmp_path / "a.zip", "--name", "mine", "--json"))
    spec = tmp_path / "spec.yaml"

    spec.write_text("kind: train\ndataset: mine@1\nmodel: {architecture: yolov8n}\n")
    (job,) = lines(command("jobs", "submit", spec, "--json"))
    spec.write_text("kind: train\ndataset: no/such\nmodel: {architecture: yolov8n}\n")

    assert job["spec"]["dataset"] == dataset["id"]
    (missing,) = command("jobs", "submit", spec).exception.problems  # type: ignore[union-attr]
    assert "a file to send, got 'no/such'" in missing.detail


def test_models_are_registered_named_and_fetched(live: Live, command: Command, tmp_path: Path) -> None:
    (model,) = lines(command("models", "register", student(live), "--name", "n", "--alias", "best", "--json"))
    settle(live, b"converted")

    assert (model["version"], model["aliases"]) == (1, ["best"])
    assert "best" in command("models", "list").stdout
    assert "best" in command("models", "list", "--own").stdout
    assert lines(command("models", "list", "--shared", "--json")) == []
    assert lines(command("models", "alias", model["id"], "production", "--json"))[0]["aliases"] == [
        "best",
        "production",
    ]
    assert command("models", "alias", model["id"], "best", "--remove").exit_code == 0
    target = tmp_path / "n.safetensors"
    assert command("models", "download", model["id"], "-o", target).stdout.strip() == str(target)
    assert target.read_bytes() == b"converted"
    assert command("models", "download", model["id"], "-o", tmp_path / "n.onnx").exit_code == 2
    command("models", "alias", model["id"], "production", "--remove")
    assert f"{model['id']}: deleted" in command("models", "delete", model["id"]).stderr


def test_an_export_is_submitted_by_alias(live: Live, command: Command, tmp_path: Path) -> None:
    (model,) = lines(command("models", "register", student(live), "--name", "n", "--alias", "best", "--json"))
    spec = tmp_path / "export.yaml"
    spec.write_text(f"kind: export\nmodel: {{model: n@best}}\ndataset: {live.dataset()}\nexport: {{format: onnx}}\n")

    (job,) = lines(command("jobs", "submit", spec, "--json"))

    assert (job["kind"], job["spec"]["model"]) == ("export", {"model": model["id"]})


def study_spec(live: Live, folder: Path, methods: str) -> Path:
    spec = folder / "study.yaml"
    spec.write_text(
        f"name: s\ndataset: {live.dataset()}\nteacher: {{model: {{architecture: yolov8s}}, train: {{epochs: 1}}}}\n"
        f"student: {{architecture: yolov8n}}\nmethods: [{methods}]\nseeds: [1]\n"
    )
    return spec


@pytest.mark.slow
def test_studies(live: Live, command: Command, tmp_path: Path) -> None:
    spec = study_spec(live, tmp_path, "none, cwd")

    (study,) = lines(command("studies", "submit", spec, "--json"))

    assert study["jobs"] == {"queued": 3}
    assert "3 queued" in command("studies", "list").stdout
    assert lines(command("studies", "show", study["id"], "--json"))[0]["members"][1]["method"] == "cwd"
    assert command("studies", "cancel", study["id"]).exit_code == 0
    assert command("studies", "watch", study["id"]).exit_code == 3
    assert command("studies", "report", study["id"], "-o", tmp_path / "r.pdf").exit_code == 2
    assert command("studies", "delete", study["id"]).exit_code == 0
    assert command("studies", "show", study["id"]).exit_code == 1
    assert command("datasets", "delete", study["spec"]["dataset"]).exit_code == 0


def test_a_report_that_is_not_drawn_yet_is_drawn_first(live: Live, command: Command, tmp_path: Path) -> None:
    spec = study_spec(live, tmp_path, "none")
    (study,) = lines(command("studies", "submit", spec, "--json"))
    assert "a member that has succeeded" in str(command("studies", "report", study["id"]).exception)
    for held in (live.claim(), live.claim()):
        live.publish(held, 1, held.id.encode(), tmp_path)
        live.end(held, Status.SUCCEEDED)

    def draw() -> None:
        while not live.client.get("/v1/jobs?kind=compare").json()["data"]:
            time.sleep(0.05)
        held = live.claim()
        live.publish(held, 0, b"<h1>Study</h1>", tmp_path, "report.html")
        live.end(held, Status.SUCCEEDED)

    worker = threading.Thread(target=draw)
    worker.start()
    got = command("studies", "report", study["id"], "-o", tmp_path / "r.html")
    worker.join(30)
    assert got.exit_code == 0, got.stderr
    assert (tmp_path / "r.html").read_text() == "<h1>Study</h1>"


@pytest.mark.parametrize("what", ["jobs", "models"])
def test_an_empty_list_is_told_to_people_alone(live: Live, command: Command, what: str) -> None:
    listed, as_json = command(what, "list"), command(what, "list", "--json")
    assert (listed.stdout, listed.stderr) == ("", f"no {what}\n")
    assert (as_json.stdout, as_json.stderr) == ("", "")


@pytest.mark.parametrize(("what", "kind"), [("datasets", "dataset"), ("models", "model"), ("jobs", "job")])
def test_what_is_not_found_is_repeated(command: Command, what: str, kind: str) -> None:
    refused = command(what, "show", "tiny.zip")
    assert str(refused.exception) == f"expected the id or name of a {kind} that exists, got 'tiny.zip'"


def one_of_each(live: Live, command: Command, files: Path) -> dict[str, str]:
    """Return an id of each kind; their names are `mine-KIND`."""
    weights, scenes = files / "l.pt", files / "scenes"
    (model,) = lines(command("models", "upload", weights, "--name", "mine-model", "--json"))
    (dataset,) = lines(command("datasets", "upload", scenes, "--name", "mine-dataset", "--json"))
    job = {"kind": "train", "model": {"architecture": "yolov8n"}, "dataset": dataset["id"], "name": "mine-job"}
    study = {"name": "mine-study", "dataset": dataset["id"], "teacher": {"model": model["id"]},
             "student": {"architecture": "yolov8n"}, "methods": ["none"], "train": {"epochs": 2}}  # fmt: skip
    return {
        "dataset": str(dataset["id"]),
        "model": str(model["id"]),
        "job": live.client.post("/v1/jobs", json=job).json()["id"],
        "study": live.client.post("/v1/studies", json=study).json()["id"],
    }


GROUPS = {"dataset": "datasets", "model": "models", "job": "jobs", "study": "studies"}


@pytest.mark.slow
def test_an_id_or_name_of_another_kind_gets_the_right_command(live: Live, command: Command, files: Path) -> None:
    ids = one_of_each(live, command, files)
    for (kind, id_), (other, group) in product(ids.items(), GROUPS.items()):
        for text in (id_, id_[:-1], f"mine-{kind}"):
            result = command(group, "show", text)
            if kind == other:
                assert result.exit_code == 0, result.output
            else:
                said = f"; that is a {kind}: use `rdrkd {GROUPS[kind]} show {text}`"
                assert str(result.exception) == f"expected the id or name of a {other} that exists, got {text!r}{said}"
    assert "that is a model: use `rdrkd models show " in str(command("jobs", "wait", ids["model"]).exception)
    assert "that is a dataset: " in str(command("models", "register", ids["dataset"]).exception)
    assert "that is a job: " in str(command("keys", "revoke", ids["job"]).exception)
    assert "that is a job: " in str(command("studies", "report", ids["job"], "-o", files / "r.html").exception)
    assert str(command("jobs", "show", "job_f").exception).endswith("got 'job_f'")
    assert str(command("keys", "revoke", "key_0").exception).endswith("got 'key_0'")


@pytest.mark.parametrize(
    ("name", "check", "group"),
    [("scenes", "datasets check", "datasets"), ("scenes.zip", "datasets check", "datasets"),
     ("l.pt", "inspect", "models")],
)  # fmt: skip
@pytest.mark.parametrize("of", [("datasets", "show"), ("models", "show"), ("jobs", "show"), ("datasets", "preview")])
def test_a_local_file_gets_the_commands_for_it(
    command: Command,
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    of: tuple[str, str],
    name: str,
    check: str,
    group: str,
) -> None:
    monkeypatch.chdir(files)
    (files / "scenes.zip").touch()
    said = (
        f"; {name} is a local file, and this command is for uploaded ones: `rdrkd {check} {name}` checks it, "
        f"`rdrkd {group} upload {name}` uploads it"
    )
    assert str(command(*of, name).exception).endswith(said)
    assert said in command(*of, name, "--url", "http://127.0.0.1:9").stderr, "nor does it need a service"
    assert "local file" not in command(*of, "elsewhere.zip", "--url", "http://127.0.0.1:9").stderr


@pytest.mark.parametrize(("group", "name", "other"), [("datasets", "l.pt", "models"), ("models", "s.zip", "datasets")])
def test_an_upload_of_the_other_kind_is_refused_before_it_is_sent(
    live: Live, command: Command, files: Path, group: str, name: str, other: str
) -> None:
    (files / name).touch()
    refused = command(group, "upload", files / name)
    assert refused.exit_code == 2
    assert f"did you mean `rdrkd {other} upload {files / name}`?" in refused.stderr
    assert live.client.get(f"/v1/{group}").json()["data"] == []


@pytest.mark.parametrize("end", ["/", "/v1", "/docs", "/console", "/jobs"])
def test_a_copied_url_reaches_the_service(live: Live, command: Command, end: str) -> None:
    assert command("jobs", "list", "--url", live.url + end).exit_code == 0
    assert command("jobs", "list", "--url", live.url.removeprefix("http://") + end).exit_code == 0


@pytest.mark.parametrize("given", ["l.pt", "scenes", "yolov8n", "study.yaml"])
@pytest.mark.parametrize("of", ["jobs submit", "jobs validate", "studies submit"])
def test_what_is_given_in_place_of_a_spec_is_named_before_it_is_sent(
    live: Live, command: Command, files: Path, monkeypatch: pytest.MonkeyPatch, of: str, given: str
) -> None:
    monkeypatch.chdir(files)
    (files / "study.yaml").write_text("name: s\nmethods: [none]\n")
    if given == "study.yaml":
        if of == "studies submit":
            return
        meant = "did you mean `rdrkd studies submit study.yaml`?"
    elif of == "jobs submit":
        option = {"l.pt": "teacher", "scenes": "data", "yolov8n": "student"}[given]
        meant = " ".join(f"--{each} {given if each == option else '...'}" for each in ("teacher", "student", "data"))
    else:
        meant = "a spec names it as `"
    assert meant in str(command(*of.split(), given).exception)
    assert live.client.get("/v1/datasets").json()["data"] == []


def test_a_spec_with_files_is_validated_without_sending_them(live: Live, command: Command, tmp_path: Path) -> None:
    (tmp_path / "scenes.zip").write_bytes(b"a zip")
    (tmp_path / "l.pt").write_bytes(b"weights")
    spec = tmp_path / "spec.yaml"
    text = "kind: distill\nteacher: {path: l.pt}\nstudent: {architecture: yolov8n}\ndataset: scenes.zip\n"

    spec.write_text(text)
    valid = command("jobs", "validate", spec, "--json")
    spec.write_text(f"{text}train: {{epoch: 3}}\n")
    faulty = command("jobs", "validate", spec)

    assert lines(valid) == [{"ok": True, "files_not_checked": ["/teacher/path", "/dataset"]}]
    assert "files themselves are not checked" in valid.stderr
    assert [each.where for each in faulty.exception.problems] == ["/train/epoch"]  # type: ignore[union-attr]
    assert live.client.get("/v1/datasets").json()["data"] == live.client.get("/v1/models").json()["data"] == []


def test_an_event_shows_its_message_and_a_job_without_logs_its_reason(live: Live, command: Command) -> None:
    dataset = live.upload()
    job = live.submit(dataset)["id"]
    waiting = command("jobs", "logs", job)
    live.settle("expected names, got none")

    logged, listed = command("jobs", "logs", job), command("jobs", "events", job)

    assert "no output yet: the job is queued" in waiting.stderr
    assert "no trainer has run: dataset_invalid: dataset: ds_" in logged.stderr
    assert logged.stdout == ""
    assert "failed: dataset_invalid" in listed.stdout


def test_ctrl_c_before_a_job_is_submitted(command: Command, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(inputs, "read", interrupted)
    stopped = command("jobs", "submit", files / "spec.yaml", "--wait")
    assert (stopped.exit_code, stopped.stderr) == (130, "stopped before a job was submitted\n")


def test_https_at_a_service_that_speaks_http(live: Live, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "TRIES", 1)
    refused = command("jobs", "list", "--url", live.url.replace("http", "https"))
    assert refused.exit_code == 4
    assert f"the service speaks http: use {live.url}" in refused.stderr


def test_nobody_is_there(command: Command) -> None:
    result = command("jobs", "list", "--url", "http://127.0.0.1:9")

    assert result.exit_code == 4
    assert "http://127.0.0.1:9" in result.stderr


def test_keys_are_made_listed_and_revoked(live: Live, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDRKD_TOKEN", live.key("operator", "admin")["Authorization"].removeprefix("Bearer "))

    made = command("keys", "create", "nightly", "--owner", "alice", "--scope", "read", "--days", "1")
    key = made.stdout.strip()
    newest = lines(command("keys", "list", "--json"))[0]
    as_alice = {"Authorization": f"Bearer {key}"}

    assert "not shown again" in made.stderr
    assert (newest["name"], newest["owner"], newest["scope"]) == ("nightly", "alice", "read")
    assert key not in json.dumps(newest)
    assert live.client.get("/v1/jobs", headers=as_alice).status_code == 200
    assert f"{newest['id']}: revoked" in command("keys", "revoke", newest["id"]).stderr
    assert lines(command("keys", "list", "--json"))[0]["revoked_at"]
    monkeypatch.setenv("RDRKD_TOKEN", live.key("alice", "submit")["Authorization"].removeprefix("Bearer "))
    assert "expected a key with the scope admin" in str(command("keys", "list").exception)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://127.0.0.2:9", "https://nowhere.invalid"])
def test_a_service_that_is_down_is_reported_at_once(
    command: Command, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    began = time.monotonic()
    result = command("jobs", "list", "--url", url)
    assert (result.exit_code, time.monotonic() - began < 10) == (4, True)
    assert f"nothing answers at {url}; start one with `rdrkd up`" in result.stderr


@pytest.mark.parametrize("what", [("jobs", "weights", "job_0"), ("models", "download", "mdl_0")])
def test_a_refused_download_shows_the_services_reason(command: Command, tmp_path: Path, what: tuple[str, ...]) -> None:
    result = command(*what, "--output", tmp_path / "out.pt")
    assert isinstance(result.exception, Refused)
    assert result.exception.code == "not_found"
    assert str(result.exception).startswith("expected the id or name of a ")
    assert result.exception.headline.startswith("Not found: expected the id or name of a ")


def test_a_refusal_is_printed_once(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    body = {
        "kind": "train",
        "model": {"architecture": "yolov8n"},
        "dataset": "ds_0",
        "train": {"epoch": 1, "imgsz": 33},
    }
    with Client(live.url) as service, pytest.raises(Refused) as refused:
        service.submit(body)

    show_failure(failure_of(refused.value), Console(width=200))

    shown = capsys.readouterr().out
    assert "Validation error" in shown
    assert shown.count("unknown field `epoch`; did you mean `epochs`?") == shown.count("/train/epoch ") == 1
    assert shown.count("expected a multiple of 32, such as 32, got 33") == 1


@pytest.mark.parametrize("width", [80, 60, None])
def test_tables_drop_columns_and_never_cut_an_id(
    live: Live, command: Command, monkeypatch: pytest.MonkeyPatch, width: int | None
) -> None:
    job = live.job(name="a name that is long enough to be in the way of everything else that is in the table")
    rows: dict[str, Iterable[Any]] = {
        "jobs": live.client.get("/v1/jobs").json()["data"],
        "datasets": live.client.get("/v1/datasets").json()["data"],
    }
    for what in rows:
        terminal, written = Terminal(as_json=False), StringIO()
        terminal.out = Console(file=written, force_terminal=width is not None, width=width, color_system=None)
        terminal.many(what, rows[what])
        shown = written.getvalue()
        assert rows[what][0]["id"] in shown
        if width is None:
            assert all(column in shown for column in COLUMNS[what])
            assert len(shown.splitlines()) == 3, "a line for each row, and none that is empty"
        else:
            assert max(map(len, shown.splitlines())) <= width
    monkeypatch.delenv("COLUMNS")
    assert job in command("jobs", "list").stdout


def test_a_spec_comes_from_stdin_and_its_id_goes_to_stdout(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDRKD_URL", live.url)
    spec = f"kind: train\nmodel: {{architecture: yolov8n}}\ndataset: {live.dataset()}\n"

    made = CliRunner().invoke(app, ["jobs", "submit", "-"], input=spec)
    checked = CliRunner().invoke(app, ["jobs", "validate", "-", "--json"], input=spec)

    assert made.stdout == live.client.get("/v1/jobs").json()["data"][0]["id"] + "\n", made.stderr
    assert f"rdrkd jobs watch {made.stdout.strip()}" in made.stderr
    assert json.loads(checked.stdout)["ok"]


def test_a_folder_is_uploaded(live: Live, command: Command, files: Path) -> None:
    row = lines(command("datasets", "upload", files / "scenes", "--name", "mine", "--json"))[0]
    assert (row["name"], row["filename"]) == ("mine", "scenes.zip")


def test_waiting_is_silent_and_tells_by_its_status(live: Live, command: Command) -> None:
    done, failed, running = live.job(), live.job(), live.job()
    live.bring(done, Status.SUCCEEDED)
    live.bring(failed, Status.FAILED)

    assert command("jobs", "wait", done).exit_code == 0
    both = command("jobs", "wait", done, failed)
    assert (both.exit_code, both.stdout, both.stderr) == (3, "", "")
    assert command("jobs", "wait", done, running, "--timeout", 0.2).exit_code == 5


def test_events_and_logs_are_followed_to_the_end(live: Live, command: Command) -> None:
    job = live.job()
    held = live.bring(job, Status.RUNNING)

    def write(text: str) -> None:
        with live.database.transaction() as session:
            logs.append(session, job, held.attempt, text)

    def end() -> None:
        write("two\n")
        live.end(held, Status.SUCCEEDED)

    write("one\n")
    threading.Timer(0.5, end).start()

    followed = command("jobs", "logs", job, "--follow")

    assert followed.stdout == "one\ntwo\n"
    assert [row["text"] for row in lines(command("jobs", "logs", job, "--json"))] == ["one\n", "two\n"]
    seen = lines(command("jobs", "events", job, "--json"))
    assert [row["seq"] for row in seen] == list(range(1, len(seen) + 1))
    assert lines(command("jobs", "events", job, "--after", len(seen) - 1, "--json")) == seen[-1:]


def test_a_study_is_extended_waited_for_and_resumed(live: Live, command: Command) -> None:
    body = {"name": "s", "dataset": live.dataset(), "methods": ["none"], "seeds": [0],
            "teacher": {"model": {"model": ready(live, name="l")}}, "student": {"architecture": "yolov8n"}}  # fmt: skip
    study = live.client.post("/v1/studies", json=body).raise_for_status().json()["id"]

    extended = lines(command("studies", "extend", study, "--seed", 7, "--method", "ld", "--json"))[0]
    assert len(extended["members"]) == 4
    assert command("studies", "extend", study).exit_code == 2
    command("study", "cancel", study)
    assert command("studies", "wait", study).exit_code == 3
    assert lines(command("studies", "resume", study, "--json"))[0]["status"] == "queued"


def test_webhooks_are_made_tested_and_deleted(live: Live, command: Command) -> None:
    made = command("webhooks", "create", "https://93.184.216.34/hook", "--name", "mine", "--event", "job.failed")
    assert made.stdout.startswith("whsec_"), made.stderr
    row = lines(command("webhooks", "list", "--json"))[0]
    assert (row["name"], row["events"]) == ("mine", ["job.failed"])
    hook = str(row["id"])
    assert command("webhooks", "rotate", hook).stdout.startswith("whsec_")
    delivery = lines(command("webhooks", "test", hook, "--json"))[0]
    assert [each["id"] for each in lines(command("webhooks", "deliveries", hook, "--json"))] == [delivery["id"]]
    assert lines(command("webhooks", "delete", hook, "--json")) == [{"id": hook, "deleted": True}]
    assert lines(command("webhooks", "list", "--json")) == []


def test_ctrl_c_detaches_and_says_how_to_come_back(live: Live) -> None:
    job = live.job()
    live.bring(job, Status.RUNNING)
    # Under a shell's background job SIGINT is ignored, which children inherit.
    script = "import signal; signal.signal(2, signal.default_int_handler); from rdrkd.cli.main import main; main()"
    command = [sys.executable, "-c", script, "jobs", "watch", job, "--url", live.url]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watching.stderr is not None
    assert job in watching.stderr.readline()
    watching.send_signal(signal.SIGINT)
    _, told = watching.communicate(timeout=60)

    assert watching.returncode == 130
    assert f"rdrkd jobs watch {job}" in told
    assert live.client.get(f"/v1/jobs/{job}").json()["status"] == "running"


def counted(epoch: int, own: int, baseline: bool) -> dict[str, Any]:
    """Return the fields of a job whose trainings have `own` epochs each, as the service counts them."""
    return {"epoch": epoch, **place_of(epoch, own, baseline)._asdict()}


def test_a_bar_shows_ap_and_the_time_left() -> None:
    terminal, written = Terminal(as_json=False), StringIO()
    terminal.err = Console(file=written, force_terminal=True, width=120, color_system=None)
    follower = Follower(terminal, "jobs")
    row = {"id": "job_1", "name": "mine", "status": "running", "phase": "train", "epochs": 9,
           **counted(3, 9, False), "metrics": {"mAP50_95": 12.34}, "eta_seconds": 600}  # fmt: skip
    assert follower.follow("job_1", lambda news: news(row) or "the end") == "the end"
    assert "mine: train, epoch" in written.getvalue()
    assert "mAP50_95 12.3, about 10 min 00 s left" in written.getvalue()
    assert "left" not in line_of(row | {"status": "pausing"}), "a job that stops has no time left"


def test_the_student_alone_does_not_begin_with_the_others_figures() -> None:
    row = {"id": "job_1", "status": "running", "phase": "training_alone", "epochs": 20, "metrics": {"mAP50_95": 5.0},
           "spec": {"baseline": True}}  # fmt: skip
    assert "mAP" not in line_of(row | counted(11, 10, True) | {"metrics_alone": None})
    later = row | counted(12, 10, True) | {"metrics_alone": {"mAP50_95": 3.0}}
    assert "student alone, epoch 2/10, mAP50_95 3.0" in line_of(later)
    assert line_of(later | {"status": "succeeded"}) == "job_1: succeeded, mAP50_95 5.0"
    assert (cell_of(later), cell_of(later | {"status": "succeeded"})) == ("2/10 alone", "2/10")


def test_a_shown_jobs_verdict_begins_with_its_warning() -> None:
    warning = {"code": "learnt_nothing", "message": "it has learnt next to nothing"}
    result = {"warnings": [warning], "comparison": {"summary": "Nothing is gained."}}
    row = {"id": "job_1", "kind": "distill", "status": "succeeded", "spec": {}, "result": result}
    assert dict(lines_of(row))["verdict"] == "It has learnt next to nothing. Nothing is gained."


def test_a_token_file_that_is_not_there_is_refused(live: Live, command: Command, tmp_path: Path) -> None:
    result = command("jobs", "list", "--token-file", tmp_path / "none")
    assert result.exit_code == 2
    assert "--token-file" in result.stderr
    assert "No such file" in result.stderr


def test_a_suggested_file_is_written_as_in_the_spec(live: Live, command: Command, tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "scenes.zip").touch()
    spec = tmp_path / "specs/a.yaml"
    spec.write_text("kind: train\ndataset: ../scnes.zip\nmodel: {architecture: yolov8n}\n")
    (missing,) = command("jobs", "submit", spec).exception.problems  # type: ignore[union-attr]
    assert "did you mean `../scenes.zip`?" in missing.detail


def test_a_log_gets_a_line_an_epoch_and_not_one_per_second() -> None:
    terminal, written = Terminal(as_json=False), StringIO()
    terminal.err = Console(file=written, width=200, color_system=None)
    follower = Follower(terminal, "jobs")
    row: dict[str, Any] = {"id": "job_1", "status": "running", "phase": "training", "epochs": 4, "metrics": None}
    states = [(epoch, ap, eta) for epoch, ap in ((1, None), (1, 0.1), (2, 0.1), (2, 0.6), (3, 0.6)) for eta in range(9)]
    for epoch, ap, eta in states:
        follower.show(row | counted(epoch, 4, False) | {"eta_seconds": eta, "metrics": ap and {"mAP50_95": ap}})
    follower.show(row | counted(3, 4, False) | {"phase": "evaluating", "metrics": {"mAP50_95": 0.6}})
    assert [re.sub(r", about.*", "", line) for line in written.getvalue().splitlines()] == [
        "job_1: running, training, epoch 1/4",
        "job_1: running, training, epoch 1/4, mAP50_95 0.1",
        "job_1: running, training, epoch 2/4, mAP50_95 0.6",
        "job_1: running, evaluating, epoch 3/4, mAP50_95 0.6",
    ]


def test_a_baselines_epochs_are_counted_on_their_own() -> None:
    """The row counts the epochs of both trainings through."""
    terminal, written = Terminal(as_json=False), StringIO()
    terminal.err = Console(file=written, force_terminal=True, width=120, color_system=None)
    row = {"id": "job_1", "name": "mine", "status": "running", "phase": "training_alone", "epochs": 20,
           "spec": {"baseline": True}, **counted(13, 10, True)}  # fmt: skip
    Follower(terminal, "jobs").follow("job_1", lambda news: news(row))
    assert re.search(r"mine: student alone, epoch \S+ +3/10", written.getvalue())
    assert line_of(row) == "job_1: running, student alone, epoch 3/10"
    assert line_of(row | counted(3, 10, True) | {"phase": "training"}) == "job_1: running, student, epoch 3/10"
