"""Training on several devices: two ranks on the CPU, over gloo.

What starts ranks is slow for the time that they take to import torch and Ultralytics, two of them and torchrun beside
on few cores: fifteen to thirty seconds, of which the training is three.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from ultralytics.utils import NUM_THREADS

from rdrkd.collectives import differing, from_first, mean, total
from rdrkd.data import Dataset
from rdrkd.errors import (
    DiskFullError,
    MachineError,
    ModelError,
    PairError,
    RankError,
    SpecError,
    StopRequested,
    error_of,
)
from rdrkd.events import Checkpoint, Epoch, Event, Warn, parse
from rdrkd.models import LoadedModel, build, load_weights, save_student
from rdrkd.process.devices import devices_of
from rdrkd.reasons import Reason
from rdrkd.reporter import Memory
from rdrkd.run.run import Inputs, run
from rdrkd.run_folder import checkpoints
from rdrkd.spec import JOB_SPEC, Calibration, Distillation, JobSpec, Recipe, TrainSettings
from rdrkd.training import ranks, resume_state
from rdrkd.training.plan import Plan, WrittenPlan
from rdrkd.training.train import train
from tests.rdrkd.stopping import StopAfter
from tests.rdrkd.training.test_resume import assert_same

TRAIN = {"imgsz": 96, "batch": 4, "nbs": 4, "workers": 0, "warmup_epochs": 0, "lr0": 0.001, "close_mosaic": 0}
TERMS = ("regenerated", "decoupled", "responsive")
TWO = "cpu,cpu"
WITH_LOADERS = ("-m", "tests.rdrkd.training.rank_with_loaders")
RECIPE = Distillation(preset="rdr-kd", calibration=Calibration(steps=3)).recipe


def distill(scenes: Path, epochs: int = 3, **train: Any) -> JobSpec:
    spec = {
        "kind": "distill", "teacher": {"model": "mdl_" + "0" * 32}, "student": {"architecture": "yolov8n-half"},
        "dataset": str(scenes), "train": {**TRAIN, "epochs": epochs, **train},
    }  # fmt: skip
    return JOB_SPEC.validate_python(spec)


def of(memory: Memory, kind: type[Event]) -> list[Any]:
    return [event for event in memory.events if isinstance(event, kind)]


def children() -> list[psutil.Process]:
    """The ranks that this process has, itself or through a process that it started."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # Ultralytics starts others, which come and go
            if {"rdrkd.training.rank", WITH_LOADERS[1]} & set(child.cmdline()):
                found.append(child)
    return found


# -- which devices


def test_a_device_is_as_it_was() -> None:
    assert devices_of("cpu") == ("cpu",)
    assert devices_of(" CPU,cpu ") == ("cpu", "cpu")
    assert len(devices_of(None)) == 1


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("cpu,0", "got 'cpu,0'"),
        ("0,0", "got a GPU twice in '0,0'"),
        ("0,00", "got a GPU twice in '0,00'"),
        ("", "got an empty entry in ''"),
        ("cpu,,cpu", "got an empty entry in 'cpu,,cpu'"),
        ("0,1,", "got an empty entry in '0,1,'"),
        ("mps,mps", "got 'mps,mps'"),
        ("gpu", "got 'gpu'"),
        ("GPU,cpu", "got 'gpu'"),
        ("cuda:x", "got 'cuda:x'"),
        ("meta", "got 'meta'"),
        ("cuda,cuda:0", "got a GPU twice in 'cuda,cuda:0'"),
    ],
)
def test_devices_that_cannot_be_are_refused(text: str, got: str) -> None:
    with pytest.raises(MachineError) as error:
        devices_of(text)
    assert str(error.value).startswith("expected as device `cpu`, a GPU's number, or a list of one kind")
    assert "`cuda:0`" in str(error.value)
    assert got in str(error.value)


@pytest.mark.parametrize(("text", "first"), [("99", "99"), ("98,cuda:99", "98")])
def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(text: str, first: str) -> None:
    there = "`cpu` only: torch finds no GPU" if torch.cuda.device_count() == 0 else "`cpu`, `0`"
    with pytest.raises(MachineError, match=f"^expected a device of this machine, got {first}; it has {there}"):
        devices_of(text)


def test_a_run_refuses_devices_before_it_begins(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="expected as device"):
        run(distill(scenes), tmp_path, Memory(), Inputs(device="cpu,0"))
    assert not (tmp_path / "spec.json").exists()


def test_a_batch_that_ranks_cannot_share_is_refused(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected a multiple of the 3 devices, which share each batch, got 4") as error:
        run(distill(scenes), tmp_path, Memory(), Inputs(teacher=teacher_path, device="cpu,cpu,cpu"))
    assert [problem.where for problem in error.value.problems] == ["/train/batch"]


# -- what goes between processes


def test_a_plan_is_the_same_after_writing(teacher_path: Path) -> None:
    settings = TrainSettings.model_validate({**TRAIN, "lr0": 0.1 / 3, "amp": "bf16"})
    teacher = load_weights(teacher_path)
    text = WrittenPlan.of(Plan(teacher, settings, teacher, RECIPE)).model_dump_json()
    plan = WrittenPlan.model_validate_json(text).load()
    assert (plan.settings, plan.recipe) == (settings, RECIPE)
    for loaded in (plan.student, plan.teacher):
        assert isinstance(loaded, LoadedModel)
        assert loaded.path == teacher_path.resolve()
        torch.testing.assert_close(loaded.model.state_dict(), teacher.model.state_dict(), rtol=0, atol=0)
    alone = Plan("yolov8n", settings)
    assert WrittenPlan.model_validate_json(WrittenPlan.of(alone).model_dump_json()).load() == alone


def test_a_plan_of_models_without_files_is_refused(dataset: Dataset) -> None:
    made_here = LoadedModel(build("yolov8n", dataset.names), dataset.names, "yolov8n")
    with pytest.raises(ModelError, match="expected models with files of their own"):
        WrittenPlan.of(Plan("yolov8n", TrainSettings(), made_here, Recipe(RECIPE.terms)))


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_comes_back_as_an_error(reason: Reason) -> None:
    assert error_of(reason, "a rank failed").reason is reason


def test_a_process_alone_agrees_with_itself() -> None:
    assert (total([1.0, 2.0]), mean([3.0]), from_first("x"), differing(torch.tensor([1, 2]))) == ([1, 2], [3], "x", [])


# -- a whole run on two ranks


@pytest.fixture(scope="module")
def trained(
    scenes: Path, teacher_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Memory, dict[str, Any]]:
    """A finished distillation of three epochs on two ranks."""
    folder, memory = tmp_path_factory.mktemp("run"), Memory()
    result = run(distill(scenes), folder, memory, Inputs(teacher=teacher_path, device=TWO))
    assert not children()
    return folder, memory, result


@pytest.mark.slow  # two ranks start
def test_two_ranks_train_one_student(trained: tuple[Path, Memory, dict[str, Any]], dataset: Dataset) -> None:
    folder, memory, result = trained
    assert load_weights(folder / "student.pt").names == dataset.names
    assert result["epochs"] == 3
    assert result["best_epoch"] in (1, 2, 3)
    epochs = of(memory, Epoch)
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3], "rank 0 alone reports"
    for epoch in epochs:
        assert set(epoch.losses) == {"box", "cls", "dfl", *TERMS}
        assert all(value > 0 for value in epoch.losses.values())
    assert [json.loads(line)["epoch"] for line in (folder / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3]
    assert [event.epoch for event in of(memory, Checkpoint)] == [1, 2, 3]
    assert [path.name for path in checkpoints.complete(folder)] == ["0002", "0003"]
    saved = resume_state.read(folder / "checkpoints" / "0003" / "state.pt")
    assert saved["ranks"] == 2
    assert {key.split(".")[0] for key in saved["model"]} == {"student_model", "projector"}, "nothing of the wrapper"


@pytest.mark.slow  # two ranks start, twice
def test_a_stopped_run_goes_on_to_the_very_same_weights(
    trained: tuple[Path, Memory, dict[str, Any]], scenes: Path, teacher_path: Path, tmp_path: Path
) -> None:
    inputs = Inputs(teacher=teacher_path, device=TWO)
    with pytest.raises(StopRequested):
        run(distill(scenes), tmp_path, StopAfter(1), inputs)
    assert not children()
    assert [path.name for path in checkpoints.complete(tmp_path)] == ["0001"]
    memory = Memory()
    again = run(distill(scenes), tmp_path, memory, inputs)
    assert "devices_changed" not in [warning.code for warning in of(memory, Warn)]
    assert [epoch.epoch for epoch in of(memory, Epoch)] == [2, 3]
    assert again["epochs"] == 3
    one, two = (resume_state.read(folder / "checkpoints" / "0003" / "state.pt") for folder in (trained[0], tmp_path))
    for part in ("model", "ema"):
        for key, value in one[part].items():
            torch.testing.assert_close(two[part][key], value, rtol=1e-5, atol=1e-6, msg=f"{part} {key}")
    assert again["metrics"] == trained[2]["metrics"]


@pytest.mark.slow  # two ranks start
def test_a_run_goes_on_with_the_devices_that_are_left_and_says_so(
    trained: tuple[Path, Memory, dict[str, Any]], scenes: Path, teacher_path: Path, tmp_path: Path
) -> None:
    folder, memory = tmp_path / "run", Memory()
    shutil.copytree(trained[0], folder)
    (folder / "result.json").unlink()
    shutil.rmtree(folder / "checkpoints" / "0003")
    result = run(distill(scenes), folder, memory, Inputs(teacher=teacher_path, device="cpu"))
    assert (result["epochs"], [epoch.epoch for epoch in of(memory, Epoch)]) == (3, [3])
    (told,) = [warning for warning in of(memory, Warn) if warning.code == "devices_changed"]
    assert told.message.startswith("epochs 1 to 2 were trained on 2 devices, from epoch 3 on it is 1: ")
    assert told.epoch == 3
    assert resume_state.read(folder / "checkpoints" / "0003" / "state.pt")["ranks"] == 1


@pytest.mark.slow  # two ranks start, three times
def test_a_resume_is_exact_with_accumulated_gradients_calibration_and_loaders(
    teacher_path: Path, dataset: Dataset, tmp_path: Path
) -> None:
    """The cut is in the middle of both: of 9 batches every other has a step, and 6 are measured."""
    dataset.write_yaml(tmp_path / "data.yaml")
    settings = TrainSettings.model_validate({**TRAIN, "epochs": 3, "nbs": 8})
    recipe = Distillation(preset="rdr-kd", calibration=Calibration(steps=6)).recipe
    plan = Plan("yolov8n-half", settings, load_weights(teacher_path), recipe)

    def train(name: str, memory: Memory, resume: str | None = None) -> dict[str, Any]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        order = ranks.Order.of(plan, tmp_path / "data.yaml", folder, ("cpu", "cpu"), resume)
        ranks.train(order, memory, WITH_LOADERS)
        return resume_state.read(folder / "checkpoints" / "0003" / "state.pt")

    straight = train("straight", Memory())
    with pytest.raises(StopRequested):
        train("cut", StopAfter(1))
    saved = resume_state.read(tmp_path / "cut" / "checkpoints" / "0001" / "state.pt")
    assert saved["gradients"], "some wait for their step"
    assert 0 < saved["distillation"]["calibration"]["measured"] < 6
    assert_same(straight, train("cut", Memory(), "0001"))


# -- ranks that fail: small programs in their place


def small(tmp_path: Path) -> ranks.Order:
    return ranks.Order.of(Plan("yolov8n", TrainSettings()), tmp_path / "data.yaml", tmp_path, ("cpu", "cpu"), None)


def program(rank_0: str, rank_1: str) -> tuple[str, str]:
    """Two ranks of a few lines; `failed(message)` ends one as an error of ours does."""
    return (
        "-c",
        f"""
import os, signal, subprocess, sys, time

def failed(message):
    print('{{"event": "failed", "reason": "internal", "message": "' + message + '"}}', flush=True)
    sys.exit(1)

if os.environ["RANK"] == "0":
    {rank_0}
else:
    {rank_1}
""",
    )


LOST = "time.sleep(0.5); failed('Connection closed by peer')"


@pytest.mark.parametrize(
    "killed",
    [
        "subprocess.Popen(['sleep', '4']); os.kill(os.getpid(), signal.SIGKILL)",  # its loader holds the pipe
        "time.sleep(1.5); os.kill(os.getpid(), signal.SIGKILL)",  # seen late
    ],
)
def test_a_killed_rank_is_named_though_another_was_quicker_to_speak(killed: str, tmp_path: Path) -> None:
    with pytest.raises(RankError, match=r"rank 1 was killed from outside \(SIGKILL\)") as error:
        ranks.train(small(tmp_path), Memory(), program(LOST, killed))
    assert error.value.reason is Reason.OOM_HOST


def test_a_rank_that_waits_for_ever_does_not_hide_one_that_was_killed(tmp_path: Path) -> None:
    holds = "subprocess.Popen(['sleep', '30']); os.kill(os.getpid(), signal.SIGKILL)"
    started = time.monotonic()
    with pytest.raises(RankError, match="rank 1 was killed"):
        ranks.train(small(tmp_path), Memory(), program("time.sleep(60)", holds))
    assert time.monotonic() - started < 20


@pytest.mark.slow
@pytest.mark.parametrize("other", [LOST, "time.sleep(0.5); os.abort()", "time.sleep(60)"])
def test_a_rank_s_own_error_is_named_and_not_what_it_did_to_the_others(other: str, tmp_path: Path) -> None:
    with pytest.raises(RankError, match="rank 1: KeyError") as error:
        ranks.train(small(tmp_path), Memory(), program(other, "failed('KeyError')"))
    assert error.value.reason is Reason.INTERNAL


class StopsAtAWord(Memory):
    """Asks for a stop at the first event."""

    def emit(self, event: Event) -> None:
        super().emit(event)
        self.stop = True


def test_what_fails_after_a_stop_was_asked_for_is_the_stop(tmp_path: Path) -> None:
    word = """'{"event": "warning", "code": "busy", "message": "in a batch"}'"""
    busy = f"signal.signal(signal.SIGTERM, lambda *_: None); print({word}, flush=True); time.sleep(60)"
    started = time.monotonic()
    with pytest.raises(StopRequested):
        ranks.train(small(tmp_path), StopsAtAWord(), program(busy, "time.sleep(2); failed('Connection closed')"))
    assert 1 < time.monotonic() - started < 20


# -- ranks that fail


@pytest.mark.slow  # two ranks start
def test_what_a_rank_refuses_the_training_refuses(dataset: Dataset, tmp_path: Path) -> None:
    """A run looks at the classes before; where it were passed over, its ranks would."""
    save_student(build("yolov8n", ["cat"]), tmp_path, {})
    dataset.write_yaml(tmp_path / "data.yaml")
    memory, settings = Memory(), TrainSettings.model_validate({**TRAIN, "epochs": 1, "rect": True})
    plan = Plan("yolov8n-half", settings, load_weights(tmp_path / "student.pt"), RECIPE)
    with pytest.raises(PairError, match=r"rank [01]: .* a teacher of the dataset's classes") as error:
        train(plan, tmp_path / "data.yaml", tmp_path, memory, TWO)
    assert [problem.where for problem in error.value.problems] == ["/teacher"]
    warnings = [event.code for event in memory.events if event.event == "warning"]  # type: ignore[union-attr]
    assert warnings.count("rect_off") == 1
    assert not children()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file of this process and its children grow over `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow  # two ranks start
def test_the_rank_that_fails_first_says_why(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    with files_of_at_most(200_000), pytest.raises(DiskFullError, match=r"rank 0: expected room to write student\.pt"):
        run(distill(scenes), tmp_path, Memory(), Inputs(teacher=teacher_path, device=TWO))
    assert not children()


class KillsARank(Memory):
    """Kills rank 1 after the first checkpoint, as the kernel does when memory is short; counts its loaders."""

    loaders = 0

    def emit(self, event: Event) -> None:
        super().emit(event)
        if isinstance(event, Checkpoint):
            ours = [child for child in children() if child.ppid() == os.getpid()]
            (victim,) = [child for child in ours if child.environ()["RANK"] == "1"]
            self.loaders = len(victim.children())
            victim.kill()


@pytest.mark.slow  # two ranks start
def test_a_rank_that_is_killed_ends_the_run(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    with pytest.raises(RankError, match=r"rank 1 was killed from outside \(SIGKILL\)") as error:
        run(distill(scenes, epochs=50), tmp_path, KillsARank(), Inputs(teacher=teacher_path, device=TWO))
    assert error.value.reason is Reason.OOM_HOST
    assert not children()


@pytest.mark.slow  # two ranks start
def test_a_rank_that_is_killed_is_named_though_its_loaders_live_on(
    teacher_path: Path, dataset: Dataset, tmp_path: Path
) -> None:
    dataset.write_yaml(tmp_path / "data.yaml")
    settings = TrainSettings.model_validate({**TRAIN, "epochs": 50, "workers": 2})
    plan = Plan("yolov8n-half", settings, load_weights(teacher_path), RECIPE)
    order = ranks.Order.of(plan, tmp_path / "data.yaml", tmp_path, ("cpu", "cpu"), None)
    memory = KillsARank()
    with pytest.raises(RankError, match=r"rank 1 was killed from outside \(SIGKILL\)") as error:
        ranks.train(order, memory, WITH_LOADERS)
    assert error.value.reason is Reason.OOM_HOST
    assert memory.loaders >= 2, "training images are loaded ahead"


@pytest.mark.slow  # two ranks start, and the command line before them
def test_no_rank_outlives_a_parent_that_is_killed(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(distill(scenes, epochs=50).model_dump_json())
    command = [sys.executable, "-m", "rdrkd", "distill", spec, "--run-dir", tmp_path / "run", "--device", TWO,
               "--teacher", teacher_path, "--events"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if isinstance(parse(line), Epoch):
                break
        there = children()
        process.send_signal(signal.SIGKILL)
    assert len(there) == 2
    _gone, left = psutil.wait_procs(there, timeout=10)
    assert not left


# -- seen from inside the ranks


PREPARE = """
import sys
from pathlib import Path
import torch
from rdrkd.reporter import Memory
from rdrkd.training.ranks import Order
from rdrkd.training.trainer import Trainer

order = Order.model_validate_json(sys.argv[1])
Trainer(order.plan.load(), order.data, order.run_dir, Memory(), ",".join(order.devices))
print("threads:", torch.get_num_threads())
"""


@pytest.mark.slow  # a process that imports torch
def test_a_rank_has_the_threads_that_its_environment_gives_it(dataset: Dataset, tmp_path: Path) -> None:
    threads = NUM_THREADS + 1  # Ultralytics would take one less
    dataset.write_yaml(tmp_path / "data.yaml")
    rank = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-c", PREPARE, small(tmp_path).model_dump_json()]
    done = subprocess.run(command, env={**os.environ, **rank}, check=True, capture_output=True, text=True)
    assert f"threads: {threads}" in done.stdout.splitlines()


def witnesses(plan: Plan, dataset: Dataset, folder: Path, *faults: str) -> list[dict[str, Any]]:
    """Train on two ranks under torchrun and give what each of them wrote."""
    dataset.write_yaml(folder / "data.yaml")
    order = ranks.Order.of(plan, folder / "data.yaml", folder, ("cpu", "cpu"), None)
    (folder / "order.json").write_text(order.model_dump_json())
    script = Path(__file__).with_name("one_rank.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1",
               "--nproc-per-node", "2", script, folder / "order.json", folder]  # fmt: skip
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [*command, *faults], env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True, timeout=300
    )
    files = [folder / f"{rank}.json" for rank in range(2)]
    assert all(file.exists() for file in files), done.stderr[-4000:]
    return [json.loads(file.read_text()) for file in files]


@pytest.fixture(scope="module")
def seen(teacher_path: Path, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two ranks saw of three epochs, with a loss lost on rank 1 in the second and a drift there in the third."""
    settings = TrainSettings.model_validate({**TRAIN, "epochs": 3})
    plan = Plan("yolov8n-half", settings, load_weights(teacher_path), RECIPE)
    return witnesses(plan, dataset, tmp_path_factory.mktemp("seen"), "nan", "drift")


def whole(rank: dict[str, Any]) -> list[dict[str, Any]]:
    """The batches in which nothing was made to fail."""
    return [each for each in rank["batches"] if each["epoch"] == 1 or (each["epoch"] == 2 and each["recoveries"])]


@pytest.mark.slow  # torchrun and two ranks start
def test_every_term_reaches_the_student_on_every_rank(seen: list[dict[str, Any]]) -> None:
    for rank in seen:
        assert len(whole(rank)) == 6
        for batch in whole(rank):
            assert all(batch["loss"][term] > 0 for term in TERMS)
    assert whole(seen[0])[0]["loss"] != whole(seen[1])[0]["loss"], "each has images of its own"


@pytest.mark.slow  # torchrun and two ranks start
def test_the_student_is_one_on_all_ranks(seen: list[dict[str, Any]], dataset: Dataset) -> None:
    students = [[batch["student"] for batch in whole(rank)] for rank in seen]
    assert students[0] == students[1]
    assert len(set(students[0])) == 6, "it learns"
    torch.manual_seed(0)
    alone = build("yolov8n-half", dataset.names).model[0].conv.weight.flatten().tolist()
    assert seen[0]["start"] == seen[1]["start"] == alone, "and starts as it does in one process"


@pytest.mark.slow  # torchrun and two ranks start
def test_gradients_are_the_mean_of_the_ranks(seen: list[dict[str, Any]]) -> None:
    own = [torch.tensor(rank["own_gradient"]) for rank in seen]
    assert not torch.allclose(own[0], own[1])
    for rank in seen:
        torch.testing.assert_close(torch.tensor(rank["gradient"]), (own[0] + own[1]) / 2)


@pytest.mark.slow  # torchrun and two ranks start
def test_the_ranks_see_disjoint_images_that_are_the_epoch(seen: list[dict[str, Any]], dataset: Dataset) -> None:
    everything = {f"demo_train_{index:06d}.jpg" for index in range(12)}
    orders = set()
    for epoch in seen[0]["images"]:
        one, two = (rank["images"][epoch] for rank in seen)
        assert (len(one), len(two)) == (6, 6)
        assert set(one) | set(two) == everything
        orders.add((*one, *two))
    assert len(orders) == 4, "three epochs, one of them twice: in another order each time"


@pytest.mark.slow  # torchrun and two ranks start
def test_calibration_gives_all_ranks_the_same_weights(seen: list[dict[str, Any]]) -> None:
    weights = [[batch["weights"] for batch in whole(rank)] for rank in seen]
    assert weights[0] == weights[1]
    assert weights[0][0] != weights[0][2] == weights[0][3], "three steps are measured, then they are fixed"


@pytest.mark.slow  # torchrun and two ranks start
def test_losses_are_means_over_the_ranks(seen: list[dict[str, Any]]) -> None:
    assert seen[0]["losses"] == seen[1]["losses"]
    for name, value in seen[0]["losses"].items():
        batches = [batch["loss"][name] for rank in seen for batch in whole(rank)[3:]]
        assert value == pytest.approx(sum(batches) / len(batches), rel=1e-5)


@pytest.mark.slow  # torchrun and two ranks start
def test_a_loss_lost_on_one_rank_sends_all_back(seen: list[dict[str, Any]]) -> None:
    for rank in seen:
        assert [f"{each['epoch']}/{each['recoveries']}" for each in rank["batches"][::3]] == [
            "1/0",
            "2/0",
            "2/1",
            "3/1",
        ]


@pytest.mark.slow  # torchrun and two ranks start
def test_a_student_that_drifts_apart_is_an_error_on_all_ranks(seen: list[dict[str, Any]]) -> None:
    expected = (
        "RankError: expected the same student on all ranks after epoch 3, got 1 of 224 parameters that differ, "
        "first student_model.model.0.conv.weight"
    )
    assert [rank["error"] for rank in seen] == [expected] * 2


@pytest.mark.slow  # torchrun and two ranks start
def test_a_term_that_is_inert_on_one_rank_fails_the_job(teacher_path: Path, dataset: Dataset, tmp_path: Path) -> None:
    settings = TrainSettings.model_validate({**TRAIN, "imgsz": 64, "batch": 2, "epochs": 9})
    plan = Plan("yolov8n-half", settings, load_weights(teacher_path), Recipe(RECIPE.terms))
    rank_0, rank_1 = witnesses(plan, dataset, tmp_path, "inert")
    assert rank_1["error"].startswith("TermInertError: expected every enabled term to reach the student")
    assert "decoupled: value" in rank_1["error"]
    assert len(rank_0["batches"]) < 9 * 6, "and the other rank does not go on"


# -- GPUs


@pytest.mark.gpu
def test_two_gpus_train_one_student(scenes: Path, teacher_path: Path, dataset: Dataset, tmp_path: Path) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    memory = Memory()
    spec = distill(scenes, epochs=2, workers=2)
    run(spec, tmp_path, memory, Inputs(teacher=teacher_path, device="0,1"))
    assert [epoch.epoch for epoch in of(memory, Epoch)] == [1, 2]
    assert all(epoch.losses[term] > 0 for epoch in of(memory, Epoch) for term in TERMS)
    assert load_weights(tmp_path / "student.pt").names == dataset.names
    assert not children()
