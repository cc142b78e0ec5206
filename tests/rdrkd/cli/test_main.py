"""The command line as people and workers call it: what it prints, and the status it leaves with."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from rdrkd import __version__
from rdrkd.cli.main import COMMANDS, app, main
from rdrkd.cli.run_output import People
from rdrkd.cli.runs import _leaving_nothing
from rdrkd.data import open_dataset
from rdrkd.data.scenes import write_scenes
from rdrkd.errors import FolderError, NanLossError, Problem, SpecError, StopRequested
from rdrkd.events import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERNAL,
    EXIT_STOPPED,
    Done,
    Epoch,
    Failed,
    Resolved,
    Stopped,
    parse,
)
from rdrkd.files import held
from rdrkd.models import build, save_student
from rdrkd.process.process import conclude, reason_of
from rdrkd.reasons import Reason
from rdrkd.reporter import JsonLines, Memory
from tests.rdrkd.data.crafted import make_dataset
from tests.rdrkd.data.test_one_reader import float_tiff, trailing, tree
from tests.rdrkd.datasets import tiny_dataset

RDRKD = [sys.executable, "-m", "rdrkd"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("data"))


def write_spec(folder: Path, **content: Any) -> Path:
    file = folder / "spec.json"
    file.write_text(json.dumps({"kind": "train", "dataset": "d", "model": {"architecture": "yolov8n-half"}} | content))
    return file


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# -- help


def test_help_needs_no_torch() -> None:
    script = (
        "import sys, contextlib\n"
        "from rdrkd.cli.main import main\n"
        "sys.argv = ['rdrkd', '--help']\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "heavy = {'torch', 'ultralytics', 'numpy', 'matplotlib', 'cv2', 'fastapi', 'celery', 'sqlalchemy'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "distill" in done.stdout


def test_help_and_version_import_no_command() -> None:
    """What `rdrkd --help` imports decides how long it takes: the bound is on modules, for times are noisy."""
    script = (
        "import sys, contextlib\n"
        "from rdrkd.cli.main import main\n"
        "sys.argv = ['rdrkd', sys.argv[1]]\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "slow = {'rich', 'pydantic', 'yaml', 'httpx2', 'asyncio', 'rdrkd.events', 'rdrkd.spec', 'rdrkd.cli.jobs'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    for option, shown in (("--help", "distill"), ("--version", __version__)):
        done = subprocess.run([sys.executable, "-c", script, option], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert shown in done.stdout


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    context = group.make_context("rdrkd", [], resilient_parsing=True)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if hasattr(found, "list_commands"):
            yield from _commands(found, (*path, name))
        else:
            yield (*path, name), found


EVERY = dict(_commands(typer.main.get_command(app)))


def test_every_command_and_option_has_help() -> None:
    assert ("jobs", "submit") in EVERY
    for path, command in EVERY.items():
        assert command.help, path
        for parameter in command.params:
            assert parameter.help, (path, parameter.name)


def test_the_lists_line_of_a_command_is_about_it() -> None:
    root = typer.main.get_command(app)
    context = root.make_context("rdrkd", [], resilient_parsing=True)
    for name, lazy in COMMANDS.items():
        found = root.get_command(context, name)  # type: ignore[attr-defined]
        assert len(f"  {max(COMMANDS, key=len)}  {lazy.help}") <= 80, name
        assert lazy.hidden or set(lazy.help.lower().split()[:1]) <= set(found.help.lower().split()), name


def test_every_command_on_a_service_prints_json_on_demand() -> None:
    with_url = {path: command for path, command in EVERY.items() if any(p.name == "url" for p in command.params)}
    assert len(with_url) > 30
    del with_url["console",]  # which serves pages
    assert [path for path, command in with_url.items() if "as_json" not in {p.name for p in command.params}] == []


def test_study_and_studies_are_one() -> None:
    assert "(short: study)." in call("--help").output
    assert "is the same as `rdrkd studies`" in " ".join(call("study", "--help").output.replace("│", "").split())
    of = {group: {path[1] for path in EVERY if path[0] == group} for group in ("study", "studies")}
    assert of["study"] == of["studies"] >= {"run", "merge", "report", "table1", "submit", "extend", "resume", "wait"}


def test_shells_complete_commands_and_options() -> None:
    environment = os.environ | {"_RDRKD_COMPLETE": "complete_bash", "COMP_WORDS": "rdrkd jobs su", "COMP_CWORD": "2"}
    command = [Path(sys.executable).with_name("rdrkd")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.split() == ["submit"], done.stderr


# -- specs


def test_refused_fields_are_named_by_pointer(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, train={"epochs": 0, "bogus": 1})
    result = call("train", spec, "--run-dir", tmp_path / "run")
    assert result.exit_code == EXIT_FAILED
    assert "spec_invalid" in result.output
    assert "/train/epochs expected a value greater than or equal to 1, got 0" in result.output
    assert "/train/bogus unknown field `bogus`" in result.output
    assert not (tmp_path / "run").exists(), "nothing half-written is left behind"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--teacher, --student and --data, got no --teacher, --student, --data"),
        (["--teacher", "t.pt"], "got no --student, --data"),
        (["spec.json", "--epochs", "3", "--run-dir", "r"], "--epochs beside it"),
    ],
)
def test_a_distillation_needs_a_spec_or_options(options: list[str], words: str) -> None:
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["distill", *options])
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"--student": "yolov8nn.pt"}, "did you mean `yolov8n` (random weights)?"),
        ({"--imgsz": 100}, "--imgsz"),
        ({"--epochs": 10_001}, "--epochs"),
        ({"--preset": "rdr"}, "--preset"),
        ({"--data": "gone.zip"}, "gone.zip"),
        ({"--teacher": "gone.pt"}, "--teacher expected a weights file"),
    ],
)
def test_an_option_is_refused_by_its_name_before_a_training(
    data: Path, tmp_path: Path, changed: dict[str, object], words: str
) -> None:
    (tmp_path / "t.pt").write_bytes(b"")
    options = {"--teacher": tmp_path / "t.pt", "--student": "yolov8n", "--data": data} | changed
    result = call("distill", *(part for pair in options.items() for part in pair), "--run-dir", tmp_path / "run")
    assert result.exit_code == EXIT_FAILED
    assert words in result.output.replace("\n", " ")


@pytest.mark.parametrize("command", ["distill", "evaluate"])
def test_a_line_comes_before_the_wait_for_torch_and_the_dataset(tmp_path: Path, command: str) -> None:
    teacher = tmp_path / "t.pt"
    teacher.write_bytes(b"")
    arguments = {
        "distill": ("--teacher", teacher, "--student", "yolov8n", "--data", tmp_path, "--run-dir", tmp_path / "run"),
        "evaluate": (teacher, "--data", tmp_path),
    }
    assert call(command, *arguments[command]).output.startswith("preparing ...\n")


def test_a_missing_teacher_is_refused_without_that_wait(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    result = call("distill", "--teacher", "gone.pt", "--student", "yolov8n", "--data", "gone", "--run-dir", run_dir)
    assert "preparing" not in result.output
    assert "--teacher expected a weights file" in result.output.replace("\n", " ")


@pytest.mark.parametrize("by_spec", [False, True])
@pytest.mark.parametrize("fault", ["other classes", "no weights", "no labels"])
def test_a_refused_run_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, by_spec: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    write_scenes(tmp_path / "scenes", "demo", {"train": 3, "val": 2}, 96)
    names = open_dataset(tmp_path / "scenes", tmp_path).names if fault == "no labels" else ["other"]
    save_student(build("yolov8n-half", names), tmp_path, {"imgsz": 96})
    (tmp_path / "empty.pt").write_bytes(b"")
    shutil.copytree(tmp_path / "scenes", tmp_path / "unlabelled", ignore=shutil.ignore_patterns("labels"))
    teacher = "empty.pt" if fault == "no weights" else "student.pt"
    dataset = "unlabelled" if fault == "no labels" else "scenes"
    spec = {"teacher": {"path": teacher}, "student": {"architecture": "yolov8n-half"}, "dataset": dataset,
            "distillation": {"preset": "rdr-kd"}, "train": {"imgsz": 96}}  # fmt: skip
    (tmp_path / "spec.json").write_text(json.dumps({"kind": "distill"} | spec))
    before = sorted(tmp_path.rglob("*"))
    options = ("--teacher", teacher, "--student", "yolov8n-half", "--data", dataset, "--device", "cpu")
    by = ("spec.json", "--run-dir", "runs/mine", "--device", "cpu") if by_spec else options
    refused = call("distill", *by)
    assert refused.exit_code == EXIT_FAILED
    assert sorted(tmp_path.rglob("*")) == before
    if fault == "other classes":
        assert "epochs" not in refused.output, "settings are not chosen for a run that is refused"


def test_a_refused_run_keeps_a_folder_that_was_there(data: Path, tmp_path: Path) -> None:
    save_student(build("yolov8n-half", ["other"]), tmp_path, {"imgsz": 96})
    (tmp_path / "run").mkdir()
    (tmp_path / "run/mine.txt").write_text("mine")
    options = ("--teacher", tmp_path / "student.pt", "--student", "yolov8n-half", "--data", data, "--device", "cpu")
    assert call("distill", *options, "--run-dir", tmp_path / "run").exit_code == EXIT_FAILED
    assert (tmp_path / "run/mine.txt").read_text() == "mine"


def test_a_refused_run_removes_no_folder_in_which_another_has_begun(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with ExitStack() as other:

        @_leaving_nothing(folder, People())
        def refused() -> None:
            other.enter_context(held(folder))
            (folder / "spec.json").touch()
            raise SpecError("refused")

        with pytest.raises(SpecError):
            refused()
        assert (folder / "spec.json").exists()


def test_help_is_never_cut() -> None:
    """On 80 columns; defaults were, such as `http://127.0.0.1:80`, and summaries of commands."""
    groups = {path[:-1] for path in EVERY if len(path) > 1}
    for path in (*EVERY, *groups):
        result = CliRunner(env={"COLUMNS": "80"}).invoke(app, [*path, "--help"])
        assert result.exit_code == 0, path
        words = result.output.replace("[ARGS]...", "").replace("prefix=_", "")
        cut = [line for line in words.splitlines() if line.rstrip().endswith(("...", "\N{HORIZONTAL ELLIPSIS}"))]
        assert not [line for line in cut if not line.startswith("Usage:")], path


def test_an_inspection_says_first_what_it_checks(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no archive")
    assert call("inspect", tmp_path / "a.zip").stderr.startswith(f"checking {tmp_path / 'a.zip'} ...")


def weights_of(data: Path, folder: Path) -> Path:
    """A teacher of the dataset's classes, trained (it says) at 96 px."""
    names = open_dataset(data, folder / "cache").names
    save_student(build("yolov8n-half", names), folder, {"imgsz": 96})
    return folder / "student.pt"


def test_a_training_needs_a_spec_or_options() -> None:
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["train", "--epochs", "2"])
    assert result.exit_code == 2
    assert "expected a spec, or --model and --data, got no --model, --data" in result.output


@pytest.mark.slow
def test_one_command_trains_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_scenes(tmp_path / "may", "demo", {"train": 4, "val": 2}, 96)
    options = ("--model", "yolov8n-half", "--data", "may/data.yaml", "--device", "cpu")

    first = call("train", *options, "--imgsz", 96, "--epochs", 1)
    again = call("train", *options)

    assert first.exit_code == again.exit_code == EXIT_DONE, first.output + again.output
    assert "batch 4: all 4 training images" in first.output
    assert "preset" not in first.output
    assert "run folder: runs/yolov8n-half-on-may" in first.output
    assert "this run has finished; its result:" in again.output
    assert "resuming" not in again.output
    assert (tmp_path / "runs/yolov8n-half-on-may/student.pt").is_file()


@pytest.mark.slow
def test_one_command_distils_and_goes_on(data: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    options = ("--teacher", weights_of(data, tmp_path), "--student", "yolov8n-half", "--data", data, "--device", "cpu",
               "--run-dir", run_dir)  # fmt: skip

    first = call("distill", *options, "--epochs", 1)
    again = call("distill", *options)

    assert first.exit_code == again.exit_code == EXIT_DONE, first.output + again.output
    for output in (first.output, again.output):
        assert output.startswith("preparing ...\n"), "before a wait"
        last = [line.split() for line in output.splitlines()[-6:]]
        assert [line[0] for line in last] == [
            "Run",
            "student.pt",
            "alone.pt",
            "report.html",
            "model_card.md",
            "result.json",
        ]
    assert "student alone" in first.output
    assert "imgsz 96: as the teacher was trained" in first.output
    assert "this run has finished; its result:" in again.output
    spec = json.loads((run_dir / "spec.json").read_text())
    assert (spec["train"]["imgsz"], spec["train"]["epochs"], spec["name"]) == (96, 1, "yolov8n-half-from-student")


def test_the_command_must_be_the_specs_kind(tmp_path: Path) -> None:
    result = call("distill", write_spec(tmp_path), "--run-dir", tmp_path / "run")
    assert result.exit_code == EXIT_FAILED
    assert "expected a spec of the kind 'distill', got 'train'" in result.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.json", None, "expected a job spec in"),
        ("spec.json", "{", "expected JSON or YAML in"),
        ("spec.yaml", "kind: [", "expected JSON or YAML in"),
        ("spec.yaml", "- 1", "expected an object, got [1]"),
        ("spec.yaml", "kind: !!python/object/apply:os.getcwd []", "expected JSON or YAML in"),
    ],
)
def test_files_that_are_no_spec(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    result = call("train", tmp_path / name, "--run-dir", tmp_path / "run")
    assert result.exit_code == EXIT_FAILED
    assert message in result.output.replace("\n", " ")


def test_a_field_at_the_wrong_level_or_in_a_short_form_gets_the_right_one(tmp_path: Path) -> None:
    wrong = {"epochs": 2, "epoch": 2, "imgsiz": 96, "data": "d", "model": "../l.pt"}
    output = " ".join(call("train", write_spec(tmp_path, **wrong)).output.split())
    for field, meant in (
        ("epochs", "train.epochs"),
        ("epoch", "train.epochs"),
        ("imgsiz", "train.imgsz"),
        ("data", "dataset"),
    ):
        assert f"unknown field `{field}`; did you mean `{meant}`?" in output
    assert "got '../l.pt': write {path: ../l.pt}" in output


@pytest.mark.parametrize("command", ["distill", "train"])
def test_a_run_folder_that_is_a_file_is_refused(tmp_path: Path, command: str) -> None:
    write_scenes(tmp_path / "scenes", "demo", {"train": 2, "val": 2}, 96)
    (tmp_path / "t.pt").write_bytes(b"weights")
    networks = {"distill": ("--teacher", tmp_path / "t.pt", "--student", "yolov8n"), "train": ("--model", "yolov8n")}
    result = call(command, *networks[command], "--data", tmp_path / "scenes", "--run-dir", tmp_path / "t.pt")
    assert result.exit_code == EXIT_FAILED
    assert "--run-dir: expected a folder, got the file" in " ".join(result.output.split())
    assert (tmp_path / "t.pt").read_bytes() == b"weights"


def test_an_evaluation_names_both_missing_inputs(tmp_path: Path) -> None:
    (tmp_path / "teacher.pt").write_bytes(b"")
    arguments = ["evaluate", str(tmp_path / "techer.pt"), "--data", str(tmp_path / "gone.zip")]
    output = CliRunner(env={"COLUMNS": "500"}).invoke(app, arguments).output
    assert "weights expected a weights file, got nothing at" in output
    assert "teacher.pt`?" in output
    assert "--data expected a dataset, got nothing at" in output


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(FolderError, match=r"got nothing at .*; did you mean `.*/mine`\?"):
        raise call("report", tmp_path / "mien").exception


def test_weights_are_not_evaluated_on_a_faulty_dataset(tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes", "demo", {"train": 2, "val": 2}, 96)
    save_student(build("yolov8n-half", open_dataset(tmp_path / "scenes", tmp_path).names), tmp_path, {"imgsz": 96})
    shutil.rmtree(tmp_path / "scenes/labels/val")
    result = call("evaluate", tmp_path / "student.pt", "--data", tmp_path / "scenes", "--device", "cpu")
    assert result.exit_code == EXIT_FAILED
    assert "expected label files" in " ".join(result.output.split())


def test_a_mistyped_kind_hides_no_other_problem(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, kind="trian", train={"epochs": 0, "bogus": 1})
    output = " ".join(call("train", spec).output.split())
    for words in ("did you mean `train`?", "/train/epochs expected", "/train/bogus unknown field"):
        assert words in output


def test_a_binary_file_in_place_of_a_spec_is_named_as_binary(tmp_path: Path) -> None:
    weights = tmp_path / "spec.bin"
    weights.write_bytes(b"PK\x03\x04\x80\x81")
    result = call("train", weights, "--run-dir", tmp_path / "run")
    assert "expected a job spec in" in " ".join(result.output.split())
    assert "got a binary file" in " ".join(result.output.split())


def test_a_yaml_spec_may_write_numbers_as_yaml_11_does_not(tmp_path: Path) -> None:
    from rdrkd.spec.files import read_spec

    file = tmp_path / "spec.yaml"
    file.write_text("kind: train\ndataset: d\nmodel: {architecture: yolov8n}\ntrain: {lr0: 1e-3}\n")
    assert read_spec(file).train.lr0 == 0.001  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("w.pt",), "need --data"), (("scenes.zip", "--data", "w.pt"), "is it meant for --data?")],
)
def test_evaluate_says_what_is_missing_or_swapped(arguments: tuple[str, ...], words: str) -> None:
    result = call("evaluate", *arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


@pytest.mark.parametrize("command", ["distill", "evaluate", "export"])
def test_a_specs_run_has_a_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text("kind: train\ndataset: d\nmodel: {architecture: yolov8n}\n")
    for name, words in (("spec.yaml", "use `rdrkd train spec.yaml`"), ("spce.yaml", "did you mean `spec.yaml`?")):
        result = call(command, name)
        assert result.exit_code == EXIT_FAILED
        assert words in " ".join(result.output.split())
    assert sorted(each.name for each in tmp_path.iterdir()) == ["spec.yaml"]


def test_weights_are_evaluated_at_the_size_of_their_training(tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes", "demo", {"train": 2, "val": 2}, 96)
    weights = {"96": {"imgsz": 96}, "640": {}}
    for size, settings in weights.items():
        folder = tmp_path / size
        folder.mkdir()
        save_student(build("yolov8n-half", open_dataset(tmp_path / "scenes", tmp_path).names), folder, settings)
        shown = call("evaluate", folder / "student.pt", "--data", tmp_path / "scenes", "--device", "cpu").output
        assert f"evaluating student.pt on val at {size} px" in shown
    shown = call("evaluate", folder / "student.pt", "--data", tmp_path / "scenes", "--imgsz", 64, "--device", "cpu")
    assert "at 64 px: as --imgsz says" in shown.output


# -- scenes


def test_scenes_are_drawn_in_the_wished_size(tmp_path: Path) -> None:
    result = call("scenes", tmp_path / "out", "--profile", "demo", "--images", 2, "--val-images", 1, "--imgsz", "96x80")
    assert result.exit_code == EXIT_DONE, result.output
    assert len(list((tmp_path / "out" / "images" / "train").iterdir())) == 2
    annotations = json.loads((tmp_path / "out" / "annotations" / "val.json").read_text())
    assert (annotations["images"][0]["width"], annotations["images"][0]["height"]) == (96, 80)


def test_a_size_that_is_none(tmp_path: Path) -> None:
    assert "expected WIDTH or WIDTHxHEIGHT in px" in call("scenes", tmp_path / "out", "--imgsz", "5y").output


# -- how a run ends


@pytest.mark.parametrize(
    ("error", "status", "reason", "message"),
    [
        (NanLossError("lost", [Problem("/train/lr0", "too high")]), EXIT_FAILED, Reason.NAN_LOSS, "lost"),
        (KeyError("x"), EXIT_INTERNAL, Reason.INTERNAL, "KeyError: 'x'"),
        (MemoryError(), EXIT_INTERNAL, Reason.OOM_HOST, "MemoryError: no message"),
        (OSError(28, "No space left on device"), EXIT_INTERNAL, Reason.DISK_FULL, "OSError: [Errno 28] No space left"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            EXIT_INTERNAL,
            Reason.OOM_HOST,
            "RuntimeError: Def",
        ),
    ],
)
def test_errors_become_events(
    error: Exception, status: int, reason: Reason, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(_: object) -> dict[str, Any]:
        raise error

    reporter = Memory()
    assert conclude(work, reporter) == status
    (event,) = reporter.events
    assert isinstance(event, Failed)
    assert event.reason == reason
    assert event.message.startswith(message)
    assert len(event.problems) == (status == EXIT_FAILED)
    assert ("Traceback" in capsys.readouterr().err) == (status == EXIT_INTERNAL), "the log has it, the user need not"


@pytest.mark.parametrize("to_programs", [False, True])
def test_a_refused_file_ends_a_run_in_one_sentence(capsys: pytest.CaptureFixture[str], to_programs: bool) -> None:
    def work(_: object) -> dict[str, Any]:
        Path("/proc/version/x").write_text("")
        return {}

    out = io.StringIO()
    status = conclude(work, JsonLines(out) if to_programs else People(Console(file=out, width=200)))
    assert "expected access to /proc/version/x, got: Not a directory" in out.getvalue()
    assert (status, "Traceback" in capsys.readouterr().err) == (
        (EXIT_INTERNAL, True) if to_programs else (EXIT_FAILED, False)
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "a/b"), "expected access to a/b, got: Permission denied"),
        (OSError(18, "Invalid cross-device link", "a", None, "b"), "expected access to a and b, got: Invalid"),
        (OSError("no file is to blame"), None),
        (KeyError("x"), None),
    ],
)
def test_an_error_is_a_sentence_if_a_file_explains_it_and_else_a_traceback(
    error: Exception, words: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("rdrkd.cli.main.app", fail)
    with pytest.raises(SystemExit if words else type(error)) as ended:
        main()
    if words:
        assert ended.value.code == EXIT_FAILED
        assert words in " ".join(capsys.readouterr().err.split())


def test_torchs_own_error_is_the_gpus_memory() -> None:
    import torch

    assert reason_of(torch.OutOfMemoryError("CUDA out of memory")) == Reason.OOM_CUDA


def test_a_stop_is_no_failure() -> None:
    def work(_: object) -> dict[str, Any]:
        raise StopRequested("asked")

    reporter = Memory()
    assert (conclude(work, reporter), reporter.events) == (EXIT_STOPPED, [Stopped()])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_the_run_to_stop_and_a_second_ends_it(number: signal.Signals) -> None:
    script = (
        "import os, signal, sys\n"
        "from rdrkd.process.process import conclude\n"
        "from rdrkd.reporter import JsonLines, Memory\n"
        "number = int(sys.argv[1])\n"
        "def work(asked):\n"
        "    assert not asked.should_stop()\n"
        "    os.kill(os.getpid(), number)\n"
        "    assert asked.should_stop()\n"
        "    print('asked', flush=True)\n"
        "    os.kill(os.getpid(), number)\n"
        "    print('deaf', flush=True)\n"
        "conclude(work, Memory())\n"
    )
    # A process of its own, as a trainer is: what a signal does to the tests' process is not ours to try.
    done = subprocess.run([sys.executable, "-c", script, str(int(number))], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-number, "asked\n")


# -- the trainer process


def test_stdout_carries_event_lines_alone(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from rdrkd.events import Done\n"
        "from rdrkd.process.process import events_stream\n"
        "from rdrkd.reporter import JsonLines\n"
        "reporter = JsonLines(events_stream())\n"
        "print('python'); os.system('echo a child'); os.write(1, b'C code\\n')\n"
        "reporter.emit(Done(result={}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert parse(done.stdout) == Done(result={})
    assert sorted(done.stderr.split("\n")) == ["", "C code", "a child", "python"]


def test_a_refused_spec_is_one_event(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, train={"epochs": 0}, dataset=str(tmp_path))
    command = [*RDRKD, "train", spec, "--run-dir", tmp_path / "run", "--events"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == EXIT_FAILED
    event = parse(done.stdout)
    assert isinstance(event, Failed)
    assert event.reason == Reason.SPEC_INVALID
    assert event.problems == [
        {"where": "/train/epochs", "detail": "expected a value greater than or equal to 1, got 0"}
    ]


@pytest.mark.slow
def test_events_stop_resume_done(tmp_path: Path, data: Path) -> None:
    spec = write_spec(tmp_path, dataset=str(data), train={"epochs": 3, "imgsz": 64, "batch": 16, "fraction": 0.5})
    command = [*RDRKD, "train", spec, "--run-dir", tmp_path / "run", "--device", "cpu", "--events"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(parse(line))
            if isinstance(seen[-1], Epoch):
                process.send_signal(signal.SIGTERM)
        log = process.stderr.read() if process.stderr else ""
        status = process.wait()
    assert status == EXIT_STOPPED, log
    assert isinstance(seen[-1], Stopped)
    assert any(isinstance(event, Resolved) for event in seen)
    stopped_after = max(event.epoch for event in seen if isinstance(event, Epoch))
    assert stopped_after < 3

    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == EXIT_DONE, done.stderr
    events = [parse(line) for line in done.stdout.splitlines()]
    assert [e.epoch for e in events if isinstance(e, Epoch)] == list(range(stopped_after + 1, 4)), "it went on"
    assert isinstance(events[-1], Done)
    assert events[-1].result == json.loads((tmp_path / "run" / "result.json").read_text())

    result = call("evaluate", tmp_path / "run" / "student.pt", "--data", data, "--imgsz", 64, "--device", "cpu")
    assert result.exit_code == EXIT_DONE, result.output
    assert "COCO, maxDets 500" in result.output
    assert "person" in result.output


def test_evaluation_settings_are_checked(tmp_path: Path) -> None:
    result = call("evaluate", tmp_path / "STUDENT.PT", "--data", tmp_path, "--imgsz", 65)
    assert result.exit_code == EXIT_FAILED
    assert "multiple of 32" in result.output


@pytest.mark.slow
def test_no_command_writes_into_the_folder_that_it_reads(tmp_path: Path) -> None:
    """Plain Ultralytics leaves caches there, and writes JPEGs with bytes after their end anew."""
    root = make_dataset(tmp_path / "own")
    for split in ("train", "val"):
        trailing(root / "images" / split / "b.jpg")
        float_tiff(root / "images" / split / "c.tif")
        for name in "bc":
            shutil.copy(root / "labels" / split / "a.txt", root / "labels" / split / f"{name}.txt")
    before, scaling = tree(root), open_dataset(root, tmp_path / "cache").scaling
    assert scaling is not None
    weights, on = tmp_path / "train/student.pt", ("--device", "cpu")
    small = {"imgsz": 64, "epochs": 1, "batch": 2, "workers": 0, "cache": "disk"}
    trained = write_spec(tmp_path, dataset=str(root), train=small)
    exported = {"kind": "export", "model": {"path": str(weights)}, "export": {"format": "onnx", "imgsz": 64}}
    for command in (
        lambda: ("inspect", root, "--preview", tmp_path / "preview.jpg"),
        lambda: ("datasets", "check", root),
        lambda: ("train", trained, "--run-dir", tmp_path / "train", *on),
        lambda: ("evaluate", weights, "--data", root, "--imgsz", 64, *on),
        lambda: ("export", write_spec(tmp_path, dataset=str(root), **exported), "--run-dir", tmp_path / "export", *on),
    ):  # fmt: skip
        result = call(*command())
        assert result.exit_code == EXIT_DONE, (command()[0], result.output)
        assert tree(root) == before, command()[0]
    for run in ("train", "export"):
        resolved = json.loads((tmp_path / run / "resolved_spec.json").read_text())
        assert resolved["provenance"]["scaling"] == [scaling.low, scaling.high]


def test_the_schema_of_specs_is_printed() -> None:
    schema = json.loads(call("schema").output)
    assert schema["discriminator"]["propertyName"] == "kind"
    assert set(schema["discriminator"]["mapping"]) == {"distill", "train", "evaluate", "export"}


@pytest.mark.slow
def test_tensorrt_without_a_gpu_is_refused_with_the_field(data: Path, tmp_path: Path) -> None:
    """Before anything is made, and with a reason that a worker passes on."""
    names = open_dataset(data, tmp_path / "cache").names
    save_student(build("yolov8n-half", names), tmp_path, {})
    spec = write_spec(
        tmp_path,
        kind="export",
        dataset=str(data),
        model={"path": str(tmp_path / "student.pt")},
        export={"format": "engine", "imgsz": 64},
    )
    arguments = ["export", spec, "--run-dir", tmp_path / "run", "--device", "cpu", "--events"]
    done = subprocess.run([*RDRKD, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == EXIT_FAILED, done.stderr
    failed = parse(done.stdout.splitlines()[-1])
    assert isinstance(failed, Failed)
    assert failed.reason == Reason.MACHINE_UNFIT
    assert "expected an NVIDIA GPU, got the device cpu" in failed.message
    assert [problem["where"] for problem in failed.problems] == ["/export/format"]
    assert not list((tmp_path / "run").glob("model*"))
