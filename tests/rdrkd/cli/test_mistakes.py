"""What newcomers get wrong on the command line: it is refused before anything is written, with the way out."""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from rdrkd.cli.connection import base_url
from rdrkd.cli.main import app
from rdrkd.data import open_dataset
from rdrkd.data.scenes import write_scenes
from rdrkd.errors import FolderError, MachineError, RdrkdError
from rdrkd.files import claim
from rdrkd.models import build, save_student
from rdrkd.process.devices import devices_of
from rdrkd.run_folder.names import CALLED, MEMBER, RESOLVED


def refused(*arguments: object) -> str:
    """Return the refusal of a command, in one line."""
    result = CliRunner(env={"COLUMNS": "2000"}).invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code in (2, 3) or isinstance(result.exception, RdrkdError), result.output
    shown = [result.output]
    if isinstance(result.exception, RdrkdError):
        shown += [str(result.exception), *(f"{one.where} {one.detail}" for one in result.exception.problems)]
    return " ".join(" ".join(shown).split())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file of each kind."""
    monkeypatch.chdir(tmp_path)
    for name in ("l.pt", "m.safetensors", "scenes.zip"):
        (tmp_path / name).write_bytes(b"\xff\xfe")
    (tmp_path / "data.yaml").write_text("names: [person]\ntrain: images\n")
    (tmp_path / "job.yaml").write_text("kind: train\nmodel: {architecture: yolov8n}\ndataset: scenes.zip\n")
    (tmp_path / "job.json").write_text(json.dumps({"kind": "train", "dataset": "scenes.zip"}))
    (tmp_path / "ran").mkdir()
    for name in (RESOLVED, "spec.json", "student.pt"):
        (tmp_path / "ran" / name).write_text("{}")
    (tmp_path / "study.yaml").write_text("name: s\ndataset: scenes.zip\nmethods: [none]\nseeds: [0]\n")
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- several wrong values


WRONG = {"--epochs": "0", "--imgsz": "1", "--batch": "ten", "--preset": "rdr", "--data": "gone.zip", "--device": "7"}


@pytest.mark.parametrize("command", ["distill", "train"])
@pytest.mark.parametrize("wrong", [*combinations(WRONG, 2), tuple(WRONG)])
def test_wrong_numbers_are_named_with_missing_files(command: str, wrong: tuple[str, ...]) -> None:
    networks = {"distill": {"--teacher": "gone.pt", "--student": "yolov8n"}, "train": {"--model": "gone.pt"}}[command]
    options = {**networks, "--data": "scenes.zip", **{name: WRONG[name] for name in wrong}}
    if command == "train":
        options.pop("--preset", None)
    said = refused(command, *(part for pair in options.items() for part in pair), "--run-dir", "run")
    for name in {*wrong, next(iter(networks))} & options.keys():
        assert f" {name} expected " in said, said
    assert not Path("run").exists()


@pytest.mark.parametrize("wrong", [("l.pt",), ("gone.pt", "--data", "gone.zip")])
def test_an_evaluation_names_wrong_numbers_and_files(wrong: tuple[str, ...]) -> None:
    data = () if "--data" in wrong else ("--data", "scenes.zip")
    said = refused("evaluate", *wrong, *data, "--imgsz", 1, "--batch", -3, "--split", "vall", "--device", "banana")
    for name in ("--imgsz", "--batch", "--split", "--device", *(("weights", "--data") if len(wrong) > 1 else ())):
        assert f" {name} expected " in said


def ranged() -> Iterator[Any]:
    """Yield each command that has several options with bounds, and those options."""

    def below(group: Any, path: tuple[str, ...]) -> Iterator[Any]:
        context = group.make_context("rdrkd", [], resilient_parsing=True)
        for name in group.list_commands(context):
            if hasattr(found := group.get_command(context, name), "list_commands"):
                yield from below(found, (*path, name))
            elif len(bounded := [each for each in found.params if getattr(each, "min", None) is not None]) < 2:
                continue
            elif name != "submit":  # which needs a service: see test_service.py
                yield pytest.param((*path, name), bounded, id=" ".join((*path, name)))

    yield from below(typer.main.get_command(app), ())


@pytest.mark.parametrize(("path", "bounded"), list(ranged()))
def test_every_command_names_all_its_wrong_numbers(path: tuple[str, ...], bounded: list[Any]) -> None:
    data = ("--data", "scenes.zip")
    inputs = {"distill": ("--teacher", "l.pt", "--student", "yolov8n", *data), "train": ("--model", "yolov8n", *data),
              "evaluate": ("l.pt", *data)}.get(path[-1], ())  # fmt: skip
    given = [part for each in bounded for part in (each.opts[0], each.min - 1)]
    said = refused(*path, *inputs, *given)
    for each in bounded:
        assert f" {each.opts[0]} expected a " in said
    shown = " ".join(CliRunner().invoke(app, [*path, "--help"]).output.split())
    for each in bounded:
        assert f"{each.min}<=x" in shown or f"x>={each.min}" in shown


def test_a_missing_value_is_named_with_wrong_ones() -> None:
    said = refused("study", "table1", "--seeds", 0, "--jobs", "x")
    for words in ("dataset is missing", "--out is missing", "--seeds expected", "--jobs expected a valid integer"):
        assert words in said


# -- devices


ABSENT = ["99", "cuda:99", "0,99", "mps", "xpu", "npu:1", "-1", "banana"]


@pytest.mark.parametrize("device", ABSENT)
def test_an_absent_device_is_refused_with_those_that_exist(device: str) -> None:
    with pytest.raises(MachineError) as error:
        devices_of(device)
    assert "`cpu`" in str(error.value).rpartition("got")[2], "of this machine"


@pytest.mark.parametrize(
    "command",
    [
        ("distill", "--teacher", "l.pt", "--student", "yolov8n", "--data", "scenes.zip"),
        ("train", "--model", "yolov8n", "--data", "scenes.zip"),
        ("train", "job.yaml"),
        ("evaluate", "l.pt", "--data", "scenes.zip"),
        ("study", "table1", "scenes.zip", "--out", "out"),
        ("study", "run", "study.yaml", "--out", "out"),
        ("advise", "--data", "scenes.zip"),
        ("bench",),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_no_command_writes_before_it_refuses_a_device(command: tuple[str, ...], here: Path) -> None:
    before = content(here)
    said = refused(*command, "--device", "banana" if command[0] == "bench" else "cuda:99")
    assert "expected a device" in said or "expected as device" in said
    assert content(here) == before
    assert [path.name for path in here.iterdir() if path.is_dir()] == ["ran"]


def test_a_wrong_name_of_a_device_and_the_cpu_need_no_torch() -> None:
    script = (
        "import sys; from rdrkd.process.devices import devices_of; devices_of('cpu'); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# -- a file in place of a spec


@pytest.mark.parametrize(
    ("command", "given", "meant"),
    [
        ("distill", "l.pt", "did you mean `rdrkd distill --teacher l.pt --student ... --data ...`?"),
        ("distill", "m.safetensors", "did you mean `rdrkd distill --teacher m.safetensors --student ... --data ...`?"),
        ("distill", "yolov8n", "did you mean `rdrkd distill --teacher ... --student yolov8n --data ...`?"),
        ("distill", "scenes.zip", "did you mean `rdrkd distill --teacher ... --student ... --data scenes.zip`?"),
        ("distill", "data.yaml", "did you mean `rdrkd distill --teacher ... --student ... --data data.yaml`?"),
        ("distill", "study.yaml", "a study spec; did you mean `rdrkd study run study.yaml --out FOLDER`?"),
        ("distill", "job.yaml", "use `rdrkd train job.yaml`"),
        ("train", "l.pt", "did you mean `rdrkd train --model l.pt --data ...`?"),
        ("train", "scenes.zip", "did you mean `rdrkd train --model ... --data scenes.zip`?"),
        ("evaluate", "job.yaml", "use `rdrkd train job.yaml`"),
        ("evaluate", "data.yaml", "a dataset: is it meant for --data?"),
        ("evaluate", "study.yaml", "did you mean `rdrkd study run study.yaml --out FOLDER`?"),
        ("export", "l.pt", "a weights file; a spec names it as `{path: l.pt}`"),
        ("export", "yolov8n", "an architecture; a spec names it as `{architecture: yolov8n}`"),
        ("study run", "job.yaml", "a job spec; did you mean `rdrkd train job.yaml`?"),
        ("study run", "job.json", "a job spec; did you mean `rdrkd train job.json`?"),
        ("evaluate", "ran", "a run folder; its weights are `ran/student.pt`; its spec is `ran/spec.json`"),
        ("export", "ran", "a run folder; its weights are `ran/student.pt`; its spec is `ran/spec.json`"),
        ("distill", "ran", "a run folder; its weights are `ran/student.pt`; its spec is `ran/spec.json`"),
        ("evaluate", "job_1", "`rdrkd jobs submit` takes ids, and `rdrkd jobs weights job_1` downloads"),
        ("train", "mdl_1", "an id of a service; this command takes local files: `rdrkd jobs submit` takes ids"),
        ("study run", "scenes.zip", "a dataset; a spec names it as `dataset: scenes.zip`"),
    ],
)
def test_what_is_given_in_place_of_a_spec_is_named(command: str, given: str, meant: str, here: Path) -> None:
    before = content(here)
    out = ("--out", "out") if command == "study run" else ("--run-dir", "out")
    assert meant in refused(*command.split(), given, *out)
    assert content(here) == before
    if command in ("distill", "train") and "--" in meant:
        assert meant in refused(command, given, "--epochs", 3), "options do not hide it"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("l.pt", "got the file l.pt"),
        ("ran/student.pt", "got the file ran/student.pt; did you mean `ran`?"),
        ("ran/train/results.csv", "got the file ran/train/results.csv; did you mean `ran`?"),
        (".", f"got the folder . without a {RESOLVED}; did you mean `ran`, its newest one?"),
        ("ran/train", f"got the folder ran/train without a {RESOLVED}"),
        ("rann", "got nothing at rann; did you mean `ran`?"),
    ],
)
def test_what_is_given_in_place_of_a_run_folder_is_named(given: str, meant: str, here: Path) -> None:
    (here / "ran" / "train").mkdir()
    (here / "ran" / "train" / "results.csv").touch()
    said = refused("report", given)
    assert said.endswith(meant)
    assert "Errno" not in said


@pytest.mark.parametrize("option", ["--teacher", "--student", "--data"])
@pytest.mark.parametrize("value", ["ran", "mdl_1", "ds_1", "job_1"])
def test_a_run_folder_and_an_id_are_no_local_input(option: str, value: str) -> None:
    options = {"--teacher": "l.pt", "--student": "yolov8n", "--data": "scenes.zip"} | {option: value}
    said = refused("distill", *(part for pair in options.items() for part in pair), "--run-dir", "run")
    way_out = "its weights are `ran/student.pt`" if value == "ran" else "`rdrkd jobs submit` takes ids"
    assert f"{option} expected" in said
    assert way_out in said
    assert "is it meant for" not in said


BROKEN = {
    "kind": "distill", "teacher": {"path": "ll.pt"}, "student": {"path": "ran"}, "dataset": "scene.zip",
    "train": {"epochs": 0},
}  # fmt: skip
OF_A_SERVICE = {"teacher": {"model": "mdl_1"}, "student": {"job": "job_1"}, "dataset": "ds_1"}


@pytest.mark.parametrize("wrong", [True, False])
def test_a_specs_missing_files_are_named_with_its_wrong_fields(here: Path, wrong: bool) -> None:
    spec = BROKEN if wrong else BROKEN | {"train": {}}
    (here / "bad.json").write_text(json.dumps(spec))
    said = refused("distill", "bad.json")
    assert "/teacher/path expected a weights file, got nothing at ll.pt; did you mean `l.pt`?" in said
    assert "/student/path expected a weights file, got the folder ran" in said
    assert "/dataset expected a dataset, got nothing at scene.zip; did you mean `scenes.zip`?" in said
    assert ("/train/epochs expected a value" in said) == wrong
    assert f"refused because of {4 if wrong else 3} fields" in said
    assert "run folder" not in said
    assert not Path("runs").exists()
    study = {"name": "s", "methods": ["none"], "seeds": [0, -1][: 1 + wrong]} | {
        key: spec[key] for key in ("teacher", "student", "dataset")
    }
    (here / "bad.json").write_text(json.dumps(study))
    said = refused("study", "run", "bad.json", "--out", "out")
    for where in ("/teacher/path", "/student/path", "/dataset", *(["/seeds/1"] if wrong else [])):
        assert f" {where} expected " in said


def test_a_specs_ids_are_named_with_the_command_that_takes_them(here: Path) -> None:
    (here / "bad.json").write_text(json.dumps(BROKEN | OF_A_SERVICE | {"train": {}, "labels": {"path": "x"}}))
    said = refused("distill", "bad.json")
    assert said.count("`rdrkd jobs submit` runs the spec there") == 3
    assert "/labels" not in said
    said = refused("distill", "bad.json", "--teacher", "l.pt", "--dataset", "scenes.zip", "--student", "gone.pt")
    assert "--student expected a weights file, got nothing at gone.pt" in said
    said = refused("distill", "bad.json", "--teacher", "l.pt", "--dataset", "scenes.zip")
    assert " /student expected" in said
    assert " /teacher" not in said


# -- a folder of the user's


FOREIGN = ["holiday.jpg", "student.pt", "spec.json", "scenes/a.jpg", "service/a.txt"]


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("use", ["distill", "train", "train a spec", "export", "study run", "study table1", "demo"])
def test_a_folder_with_files_of_others_is_not_written_to(use: str, name: str, here: Path) -> None:
    photos = here / "photos"
    (photos / name).parent.mkdir(parents=True)
    (photos / name).write_text("mine")
    write_scenes(here / "set", "demo", {"train": 2, "val": 2}, 64)
    (here / "s.yaml").write_text(
        "name: s\ndataset: set\nteacher: {path: l.pt}\nstudent: {architecture: yolov8n}\nmethods: [none]\nseeds: [0]\n"
    )
    spec = {"kind": "export", "model": {"path": "l.pt"}, "dataset": "set", "export": {"format": "onnx"}}
    (here / "e.json").write_text(json.dumps(spec))
    (here / "t.json").write_text(json.dumps({"kind": "train", "model": {"architecture": "yolov8n"}, "dataset": "set"}))
    command = {
        "distill": ("distill", "--teacher", "l.pt", "--student", "yolov8n", "--data", "set", "--run-dir"),
        "train": ("train", "--model", "yolov8n", "--data", "set", "--run-dir"),
        "train a spec": ("train", "t.json", "--run-dir"),
        "export": ("export", "e.json", "--run-dir"),
        "study run": ("study", "run", "s.yaml", "--out"),
        "study table1": ("study", "table1", "set", "--teacher", "l.pt", "--out"),
        "demo": ("demo", "--output"),
    }[use]
    said = refused(*command, photos)
    assert f"which holds other files, such as {name.split('/')[0]}: choose another, such as {photos / 'run'}" in said
    assert content(photos) == {name: b"mine"}
    assert not (photos / ".lock").exists()


@pytest.mark.parametrize(
    "name", ["resolved_spec.json", "names.json", "member.json", "study.json", "checkpoints/0001/state.pt"]
)
def test_a_copy_of_our_folder_without_its_hidden_files_is_ours(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    (copy / name).parent.mkdir(parents=True)
    (copy / name).write_text("{}")
    claim(copy)


@pytest.mark.parametrize("mark", [None, ".gitkeep", ".lock", RESOLVED, CALLED, MEMBER])
def test_a_new_an_empty_and_an_earlier_folder_are_written_to(mark: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    if mark is not None:
        folder.mkdir()
        (folder / mark).touch()
    if mark not in (None, ".gitkeep"):
        (folder / "student.pt").touch()
    claim(folder)
    (folder / "student.pt").touch()
    claim(folder)  # the same command again


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match=f"expected a run folder that can be written, got {tmp_path}/file/run: "):
        claim(tmp_path / "file/run")


def without_roots_rights() -> None:
    """Drop the capabilities by which root reads and writes everything."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "scenes ro/s --images 1 --val-images 1",
        "up --data-dir ro --detach --port 18917",
        "up --data-dir ro/d --port 18917",
        "report ro",
        "inspect scenes.zip --cache ro/c",
        "train job.yaml --run-dir ro/r",
        "bench --output ro/b",
        "demo --output ro/d",
    ],
)
def test_what_cannot_be_written_is_named_in_one_sentence(command: str, here: Path) -> None:
    (here / "ro").mkdir()
    (here / "ro" / RESOLVED).write_text(json.dumps({"kind": "train", "train": {"epochs": 1}}))
    (here / "ro").chmod(0o555)
    called = [sys.executable, "-P", "-m", "rdrkd", *command.split()]
    told = subprocess.run(called, capture_output=True, text=True, timeout=60, preexec_fn=without_roots_rights)
    said = " ".join((told.stdout + told.stderr).split())
    assert told.returncode == 3, said
    assert "Traceback" not in said
    assert re.search(r"expected .*\bro\b.*: Permission denied", said), said


@pytest.mark.parametrize("name", ["scenes.zi", "sceness.zip", "nosuch"])
def test_an_inspection_of_nothing_is_refused_with_a_similar_name(name: str) -> None:
    said = refused("inspect", name)
    assert f"got nothing at {name}" in said
    assert ("did you mean `scenes.zip`?" in said) == (name == "sceness.zip")


@pytest.mark.parametrize("option", [("--lenient",), ("--lenient", "--keep"), ("--divide", "val=0.2")])
@pytest.mark.parametrize("command", [("distill", "--teacher", "l.pt", "--student", "yolov8n"),
                                     ("train", "--model", "yolov8n"), ("inspect",)])  # fmt: skip
def test_options_that_only_an_archive_takes_are_refused_for_a_folder(
    command: tuple[str, ...], option: tuple[str, ...], here: Path
) -> None:
    made = write_scenes(here / "d", "demo", {"train": 2, "val": 1}, 96)
    save_student(build("yolov8n-half", ["person"]), here, {})
    (here / "student.pt").replace(here / "l.pt")
    before = content(here / "d")
    for data in (made.parent, made):
        place = (data,) if command == ("inspect",) else ("--data", data)
        said = refused(*command, *place, *option)
        assert f"expected an archive for --lenient, --keep and --divide, got {data.name}" in said
    assert content(here / "d") == before


# -- the service's URL


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/", "/docs", "/console", "/v1/jobs/job_1", "/jobs/job_1?a=b#c"])
@pytest.mark.parametrize("base", ["http://127.0.0.1:8000", "https://rdrkd.example.org", "http://a.b/behind/a-proxy"])
def test_a_copied_url_is_cut_to_the_services(base: str, end: str) -> None:
    assert base_url(base + end) == base


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("rdrkd.example.org:80", "did you mean `https://rdrkd.example.org:80`?"),
        ("ftp://a.org", "did you mean `https://a.org`?"),
        ("http://a:port", "got 'http://a:port'"),
        ("http://", "got 'http://'"),
        ("http://a:99999999", "got 'http://a:99999999'"),
    ],
)
@pytest.mark.parametrize("command", [("jobs", "list"), ("doctor",), ("console",), ("study", "report", "s")])
def test_a_wrong_url_is_refused_by_every_command(given: str, meant: str, command: tuple[str, ...]) -> None:
    said = refused(*command, "--url", given)
    assert "'--url'" in said
    assert meant in said


def test_the_scheme_of_a_service_on_this_machine_may_be_left_out() -> None:
    assert [base_url(each) for each in ("localhost:8000", "127.0.0.1:9/v1")] == [
        "http://localhost:8000", "http://127.0.0.1:9",
    ]  # fmt: skip


# -- Ctrl-C


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["preparing", "training"])
def test_ctrl_c_says_at_once_that_a_run_stops_and_how_it_resumes(here: Path, phase: str) -> None:
    write_scenes(here / "set", "demo", {"train": 8, "val": 2}, 64)
    save_student(build("yolov8n-half", open_dataset(here / "set", here).names), here, {"imgsz": 64})
    options = ["--teacher", "student.pt", "--student", "yolov8n-half", "--data", "set", "--device", "cpu",
               "--epochs", "400", "--no-baseline", "--run-dir", "run"]  # fmt: skip
    # Under a shell's background job SIGINT is ignored, which children inherit.
    script = "import signal; signal.signal(2, signal.default_int_handler); from rdrkd.cli.main import main; main()"
    run = subprocess.Popen([sys.executable, "-c", script, "distill", *options], stderr=subprocess.PIPE,
                           stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"})  # fmt: skip
    assert run.stdout is not None
    assert run.stderr is not None
    assert any(line.startswith(phase) for line in run.stdout)

    run.send_signal(signal.SIGINT)

    said = next(line for line in run.stderr if "stopping" in line)
    assert said == "stopping after this step; the same command resumes; Ctrl-C again stops at once\n"
    assert run.poll() is None, "before the step has ended"
    rest, _ = run.communicate(timeout=300)
    assert run.returncode == 75, rest
    assert "Run the same command again" in rest
