import fcntl
import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
import torch
from ultralytics.cfg import check_cfg

from rdrkd.data import Dataset
from rdrkd.data.reading import Reading
from rdrkd.data.scenes import write_scenes
from rdrkd.errors import DatasetError, FolderError, NanLossError, PairError, SpecError, StopRequested, TeacherError
from rdrkd.events import Checkpoint, Epoch, Event, Warn
from rdrkd.models import LoadedModel, build, load_weights, save_student
from rdrkd.reporter import Memory
from rdrkd.run.run import Inputs, run
from rdrkd.run_folder import checkpoints
from rdrkd.spec import JOB_SPEC, RUN_SPEC, Decoupled, JobSpec, Recipe, RunSpec, TrainSettings
from rdrkd.spec.splitting import Split
from rdrkd.training import resume_state
from rdrkd.training.plan import Plan
from rdrkd.training.train import train as train_plan
from tests.rdrkd.stopping import StopAfter

TRAIN = {"imgsz": 96, "batch": 4, "nbs": 4, "workers": 0, "warmup_epochs": 0, "lr0": 0.001, "close_mosaic": 0}


def distill(scenes: Path, epochs: int = 2, **fields: Any) -> JobSpec:
    spec = {
        "kind": "distill", "teacher": {"model": "mdl_" + "0" * 32}, "student": {"architecture": "yolov8n-half"},
        "dataset": str(scenes), "train": {**TRAIN, "epochs": epochs},
    }  # fmt: skip
    return JOB_SPEC.validate_python({**spec, **fields})


def train(scenes: Path, epochs: int = 1, **fields: Any) -> JobSpec:
    spec = {"kind": "train", "model": {"architecture": "yolov8n-half"}, "dataset": str(scenes)}
    return JOB_SPEC.validate_python({**spec, "train": {**TRAIN, "epochs": epochs}, **fields})


class Finished(NamedTuple):
    """A finished run."""

    spec: RunSpec
    inputs: Inputs
    folder: Path
    result: dict[str, Any]


def refuse_to_open(*_arguments: object) -> None:
    raise AssertionError("expected nothing to be opened again")


def events(memory: Memory, kind: type[Epoch] | type[Checkpoint] | type[Warn]) -> list[Any]:
    return [event for event in memory.events if isinstance(event, kind)]


@pytest.fixture(scope="module")
def distilled(
    scenes: Path, teacher_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Memory, dict[str, Any]]:
    """A finished distillation of three epochs."""
    folder, memory = tmp_path_factory.mktemp("run"), Memory()
    result = run(distill(scenes, epochs=3), folder, memory, Inputs(teacher=teacher_path, device="cpu"))
    return folder, memory, result


def test_a_run_leaves_result_weights_and_history(
    distilled: tuple[Path, Memory, dict[str, Any]], dataset: Dataset
) -> None:
    folder, memory, result = distilled
    assert result == json.loads((folder / "result.json").read_text())
    assert set(result["metrics"]) == {"coco", "coco_maxdets500", "ultralytics", "operating_points"}
    assert set(result["metrics"]["coco"]) == {"AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L"}
    assert load_weights(folder / "student.pt").names == dataset.names
    assert set(result["weights"]) == {"student.pt", "student.safetensors"}
    epochs = events(memory, Epoch)
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    for epoch in epochs:
        assert set(epoch.losses) == {"box", "cls", "dfl", "regenerated", "decoupled", "responsive"}
        assert all(value > 0 for value in epoch.losses.values())
        assert set(epoch.weights) == {"regenerated", "decoupled", "responsive"}
        assert all(weight > 0 for weight in epoch.weights.values())
        assert epoch.diagnostics["task/gradient_norm"] > 0
    assert [json.loads(line)["epoch"] for line in (folder / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3]


def test_ultralytics_table_has_no_term_where_none_is_computed(distilled: tuple[Path, Memory, dict[str, Any]]) -> None:
    header, *rows = ((distilled[0] / "train" / "results.csv").read_text()).splitlines()
    losses = [name for name in header.split(",") if name.startswith(("train/", "val/")) and name != "train/time"]
    terms = ["train/regenerated", "train/decoupled", "train/responsive"]
    assert losses == ["train/box_loss", "train/cls_loss", "train/dfl_loss", *terms,
                      "val/box_loss", "val/cls_loss", "val/dfl_loss"]  # fmt: skip
    assert [len(row.split(",")) for row in rows] == 3 * [len(header.split(","))]


def test_the_resolved_spec_says_what_decided_the_outcome(
    distilled: tuple[Path, Memory, dict[str, Any]], dataset: Dataset
) -> None:
    resolved = json.loads((distilled[0] / "resolved_spec.json").read_text())
    assert [term["name"] for term in resolved["distillation"]["losses"]] == ["regenerated", "decoupled", "responsive"]
    assert resolved["train"]["momentum"] == 0.937
    assert resolved["provenance"]["dataset_sha256"] == dataset.sha256
    assert set(resolved["provenance"]["model_sha256"]) == {"teacher"}
    assert resolved["provenance"]["device"] == "cpu"
    assert set(resolved["provenance"]["versions"]) == {"rdrkd", "torch", "ultralytics", "python"}


def test_a_finished_folder_gives_its_result_again(distilled: tuple[Path, Memory, dict[str, Any]], scenes: Path) -> None:
    folder, _memory, result = distilled
    again = Memory()
    assert run(distill(scenes, epochs=3), folder, again) == result
    assert not again.events


def evaluated(model: Path, data: Path, folder: Path, given: bool) -> Finished:
    """Return a finished evaluation; `given`: its spec has ids, as on the service, and the files are given."""
    named = ({"model": "mdl_" + "0" * 32}, "ds_" + "0" * 32) if given else ({"path": str(model)}, str(data))
    settings = {"imgsz": 96, "batch": 2}
    fields = {"kind": "evaluate", "model": named[0], "dataset": named[1], "evaluation": settings}
    spec = RUN_SPEC.validate_python(fields)
    inputs = Inputs(model=model, dataset=data) if given else Inputs()
    inputs = replace(inputs, cache=folder / "cache", device="cpu")
    return Finished(spec, inputs, folder / "run", run(spec, folder / "run", Memory(), inputs))


@pytest.fixture
def changeable(scenes: Path, teacher_path: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Finished:
    """A finished evaluation whose inputs are a folder or an archive, named by path or by id."""
    form, given = request.param
    shutil.copytree(scenes.parent, tmp_path / "scenes")
    shutil.copy(teacher_path, tmp_path / "m.pt")
    data = tmp_path / "scenes" / scenes.name
    if form == "zip":
        data = Path(shutil.make_archive(str(tmp_path / "scenes"), "zip", tmp_path / "scenes"))
    return evaluated(tmp_path / "m.pt", data, tmp_path, given)


EACH = [(form, given) for form in ("yaml", "zip") for given in (False, True)]


@pytest.mark.parametrize("changeable", EACH, indirect=True)
def test_a_finished_run_gives_its_result_for_its_own_inputs_alone(
    changeable: Finished, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, inputs, folder, result = changeable
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    monkeypatch.setattr("rdrkd.run.run.open_models", refuse_to_open)  # what costs time is not done again
    monkeypatch.setattr("rdrkd.data.opening.unpack", refuse_to_open)
    assert run(spec, folder, Memory(), inputs) == result

    (tmp_path / "m.pt").rename(tmp_path / "kept.pt")
    torch.manual_seed(8)
    save_student(build("yolov8n", dataset.names), tmp_path, {})
    (tmp_path / "student.pt").rename(tmp_path / "m.pt")
    with pytest.raises(FolderError, match=r"the models .* got others\. Choose another folder"):
        run(spec, folder, Memory(), inputs)

    (tmp_path / "kept.pt").replace(tmp_path / "m.pt")
    assert run(spec, folder, Memory(), inputs) == result
    label = min((tmp_path / "scenes" / "labels" / "val").glob("*.txt"))
    label.write_text("0 0.5 0.5 0.2 0.2\n")
    shutil.make_archive(str(tmp_path / "scenes"), "zip", tmp_path / "scenes")
    with pytest.raises(FolderError, match=r"the dataset .* got others\. Choose another folder"):
        run(spec, folder, Memory(), inputs)


@pytest.mark.parametrize("changeable", [("zip", False)], indirect=True)
@pytest.mark.parametrize("other", [Reading(lenient=True), Reading(split=Split.parse("val=0.5"))])
def test_a_finished_run_is_held_to_the_reading_of_its_dataset(changeable: Finished, other: Reading) -> None:
    spec, inputs, folder, result = changeable
    with pytest.raises(FolderError, match="the options --lenient, --keep and --divide"):
        run(spec, folder, Memory(), replace(inputs, reading=other))
    resolved = json.loads((folder / "resolved_spec.json").read_text())
    del resolved["provenance"]["reading"]  # as an earlier version wrote it
    (folder / "resolved_spec.json").write_text(json.dumps(resolved))
    assert run(spec, folder, Memory(), replace(inputs, reading=other)) == result


@pytest.mark.slow
def test_a_folder_is_held_to_the_content_of_its_inputs_finished_or_not(scenes: Path, tmp_path: Path) -> None:
    moved, other = tmp_path / "moved", tmp_path / "other"
    for copy in (moved, other):
        shutil.copytree(scenes.parent, copy)
    label = min((other / "labels" / "train").glob("*.txt"))
    label.write_text("0 0.5 0.5 0.2 0.2\n")
    first = run(train(scenes), tmp_path / "run", Memory())
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    with pytest.raises(FolderError, match="the dataset that this run was begun with"):
        run(train(other / scenes.name), tmp_path / "run", Memory())
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()} == before
    assert run(train(moved / scenes.name, name="another"), tmp_path / "run", Memory()) == first
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(FolderError, match="the dataset that this run was begun with"):
        run(train(other / scenes.name), tmp_path / "run", Memory())
    assert str(other) not in (tmp_path / "run" / "spec.json").read_text()


def test_checkpoints_hold_no_teacher_and_only_the_newest_two_stay(
    distilled: tuple[Path, Memory, dict[str, Any]],
) -> None:
    folder = distilled[0]
    kept = checkpoints.complete(folder)
    assert [path.name for path in kept] == ["0002", "0003"]
    saved = resume_state.read(kept[-1] / "state.pt")
    assert {key.split(".")[0] for key in saved["model"]} == {"student_model", "projector"}
    assert saved["finished"]
    reports = {
        "report.html",
        "report.png",
        "warnings.jsonl",
    }  # of trainings that take longer than 30 s, or are too short
    assert {path.name for path in kept[-1].iterdir()} - reports == {
        "state.pt",
        "student.pt",
        "student.safetensors",
        "metrics.jsonl",  # and no warnings: there were none
        "predictions.json",  # of the student on its way, in four images
        *(f"predictions-{place}.jpg" for place in range(1, 5)),
    }
    assert not list(folder.rglob("last.pt"))


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_very_same_weights(
    distilled: tuple[Path, Memory, dict[str, Any]], scenes: Path, teacher_path: Path, tmp_path: Path
) -> None:
    straight, _memory, result = distilled
    inputs = Inputs(teacher=teacher_path, device="cpu")
    with pytest.raises(StopRequested):
        run(distill(scenes, epochs=3), tmp_path, StopAfter(1), inputs)
    assert [path.name for path in checkpoints.complete(tmp_path)] == ["0001"]
    memory = Memory()
    again = run(distill(scenes, epochs=3), tmp_path, memory, inputs)
    assert [epoch.epoch for epoch in events(memory, Epoch)] == [2, 3]
    assert again["epochs"] == 3
    one = resume_state.read(straight / "checkpoints" / "0003" / "state.pt")
    two = resume_state.read(tmp_path / "checkpoints" / "0003" / "state.pt")
    for part in ("model", "ema"):
        for key, value in one[part].items():
            torch.testing.assert_close(two[part][key], value, rtol=1e-5, atol=1e-6, msg=f"{part} {key}")
    assert again["metrics"] == result["metrics"]


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    inputs = Inputs(teacher=teacher_path, device="cpu")
    with pytest.raises(StopRequested):
        run(distill(scenes, epochs=3), tmp_path, StopAfter(2), inputs)
    (tmp_path / "checkpoints" / "0002" / "state.pt").write_bytes(b"torn")
    memory = Memory()
    run(distill(scenes, epochs=3), tmp_path, memory, inputs)
    assert [epoch.epoch for epoch in events(memory, Epoch)] == [2, 3]
    codes = [event.code for event in memory.events if event.event == "warning"]  # type: ignore[union-attr]
    assert codes.count("checkpoint_unreadable") == 1


@pytest.mark.slow
def test_without_any_sound_checkpoint_the_run_begins_anew_and_ends(
    scenes: Path, teacher_path: Path, tmp_path: Path
) -> None:
    inputs = Inputs(teacher=teacher_path, device="cpu")
    with pytest.raises(StopRequested):
        run(distill(scenes, epochs=4), tmp_path, StopAfter(3), inputs)
    for folder in checkpoints.complete(tmp_path):
        (folder / "state.pt").write_bytes(b"torn")
    memory = Memory()
    run(distill(scenes, epochs=4), tmp_path, memory, inputs)
    assert [epoch.epoch for epoch in events(memory, Epoch)] == [1, 2, 3, 4]
    assert [path.name for path in checkpoints.complete(tmp_path)] == ["0003", "0004"]


@pytest.mark.slow
def test_warnings_of_before_and_after_a_resume_stay(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    inputs = Inputs(teacher=teacher_path, device="cpu")
    with pytest.raises(StopRequested):
        run(distill(scenes, epochs=3), tmp_path / "one", StopAfter(2), inputs)
    (tmp_path / "one" / "checkpoints" / "0001" / "state.pt").write_bytes(b"torn")
    (tmp_path / "one" / "checkpoints" / "0001" / "warnings.jsonl").write_text('{"code": "earlier"}\n')
    shutil.copytree(tmp_path / "one" / "checkpoints", tmp_path / "two" / "checkpoints")  # as another machine gets them
    (tmp_path / "two" / "checkpoints" / "0002" / "warnings.jsonl").write_text('{"code": "earlier"}\n')
    (tmp_path / "two" / "checkpoints" / "0002" / "state.pt").write_bytes(b"torn")
    run(distill(scenes, epochs=3), tmp_path / "two", Memory(), inputs)
    told = [json.loads(line)["code"] for line in (tmp_path / "two" / "warnings.jsonl").read_text().splitlines()]
    assert told[0] == "earlier"
    assert told.count("checkpoint_unreadable") == 2


@pytest.mark.slow
def test_calibrated_weights_stand_in_the_resolved_spec_when_only_the_evaluation_was_cut_off(
    scenes: Path, teacher_path: Path, tmp_path: Path
) -> None:
    spec = distill(scenes, epochs=1, distillation={"preset": "decoupled", "calibration": {"steps": 2}})
    inputs = Inputs(teacher=teacher_path, device="cpu")
    with pytest.raises(StopRequested):
        run(spec, tmp_path, StopAfter(1), inputs)
    run(spec, tmp_path, Memory(), inputs)
    (term,) = json.loads((tmp_path / "resolved_spec.json").read_text())["distillation"]["losses"]
    saved = resume_state.read(tmp_path / "checkpoints" / "0001" / "state.pt")
    assert term["weight"] == pytest.approx(saved["distillation"]["weights"]["decoupled"])
    assert term["weight"] != 0.1


@pytest.mark.slow
def test_training_that_is_done_is_not_done_again_when_the_evaluation_was_cut_off(scenes: Path, tmp_path: Path) -> None:
    spec = train(scenes)
    with pytest.raises(StopRequested):
        run(spec, tmp_path, StopAfter(1), Inputs(device="cpu"))
    memory = Memory()
    result = run(spec, tmp_path, memory, Inputs(device="cpu"))
    assert not events(memory, Epoch)
    assert (result["epochs"], result["best_epoch"]) == (1, 1)


@pytest.mark.slow
def test_a_schedule_without_an_epoch_of_full_weight_is_warned_of(
    scenes: Path, teacher_path: Path, tmp_path: Path
) -> None:
    schedule = {"warmup_epochs": 1, "stop_epochs": 1}
    memory, spec = Memory(), distill(scenes, distillation={"preset": "decoupled", "schedule": schedule})
    result = run(spec, tmp_path, memory, Inputs(teacher=teacher_path, device="cpu"))
    (told,) = [warning for warning in events(memory, Warn) if warning.code == "schedule_short"]
    assert "got 1 and 1: the terms stay below 100% of their weight" in told.message
    assert told.epoch is None
    assert result["epochs"] == 2, "it is no reason to refuse the run"
    text = (tmp_path / "report.html").read_text()
    assert "off in epoch 2; off when epoch 1 began and was probed" in text


@pytest.mark.slow
def test_start_weights_map_the_class_head_by_name(scenes: Path, dataset: Dataset, tmp_path: Path) -> None:
    names = [*reversed(dataset.names), "zebra"]
    torch.manual_seed(2)
    start = build("yolov8n-half", names)
    save_student(start, tmp_path, {})
    spec = train(scenes, model={"path": str(tmp_path / "student.pt")}, train={**TRAIN, "epochs": 1, "lr0": 1e-9})
    run(spec, tmp_path / "run", Memory(), Inputs(device="cpu"))
    trained = load_weights(tmp_path / "run" / "student.pt")
    assert trained.names == dataset.names
    rows = [names.index(name) for name in dataset.names]
    torch.testing.assert_close(
        trained.head.cv3[0][-1].weight, start.model[-1].cv3[0][-1].weight[rows], rtol=1e-2, atol=1e-3
    )


@pytest.mark.slow
def test_the_preset_none_trains_the_student_alone(scenes: Path, tmp_path: Path) -> None:
    memory = Memory()
    run(distill(scenes, epochs=1, distillation={"preset": "none"}), tmp_path, memory, Inputs(device="cpu"))
    assert set(events(memory, Epoch)[0].losses) == {"box", "cls", "dfl"}


def test_weights_are_evaluated_by_both_protocols(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    spec = JOB_SPEC.validate_python(
        {"kind": "evaluate", "model": {"path": str(teacher_path)}, "dataset": str(scenes), "evaluation": {"imgsz": 96}}
    )
    result = run(spec, tmp_path, Memory(), Inputs(device="cpu"))
    assert set(result["metrics"]) == {"coco", "coco_maxdets500", "ultralytics", "operating_points"}
    assert result["student"]["architecture"] == "yolov8n"


def test_a_folder_of_another_spec_is_refused(distilled: tuple[Path, Memory, dict[str, Any]], scenes: Path) -> None:
    with pytest.raises(FolderError, match=r"which holds another run: train.epochs is 3 there, here 4. Choose another"):
        run(distill(scenes, epochs=4), distilled[0], Memory())


@pytest.mark.slow
def test_other_inputs_than_it_was_begun_with_are_refused(
    scenes: Path, dataset: Dataset, teacher_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(StopRequested):
        run(distill(scenes), tmp_path / "run", StopAfter(1), Inputs(teacher=teacher_path, device="cpu"))
    torch.manual_seed(8)
    save_student(build("yolov8n", dataset.names), tmp_path, {})
    with pytest.raises(
        FolderError,
        match=r"models .* got others. Choose another .*sha256: teacher \w+; now: teacher",
    ):
        run(distill(scenes), tmp_path / "run", Memory(), Inputs(teacher=tmp_path / "student.pt", device="cpu"))
    other = write_scenes(tmp_path / "other", "demo", {"train": 2, "val": 2}, 96, seed=2)
    with pytest.raises(FolderError, match="expected the dataset that this run was begun with"):
        run(distill(scenes), tmp_path / "run", Memory(), Inputs(teacher=teacher_path, dataset=other, device="cpu"))


def test_a_folder_in_which_a_run_goes_on_is_refused(scenes: Path, tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FolderError, match="no other process writes to"):
            run(train(scenes), tmp_path, Memory())
    assert not (tmp_path / "spec.json").exists()


@pytest.mark.parametrize("broken", ["file", "spec"])
def test_a_broken_run_folder_is_named(broken: str, scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "spec.json").write_text("{")
    (tmp_path / "run" / ".lock").touch()
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match=r"expected a run folder that can be written|expected JSON in the run folder"):
        run(train(scenes), tmp_path / ("file" if broken == "file" else "run"), Memory())


def test_a_teacher_of_other_classes_is_refused_before_the_first_step(scenes: Path, tmp_path: Path) -> None:
    save_student(build("yolov8n", ["cat"]), tmp_path, {})
    memory = Memory()
    with pytest.raises(PairError, match="a teacher of the dataset's classes"):
        run(distill(scenes), tmp_path / "run", memory, Inputs(teacher=tmp_path / "student.pt", device="cpu"))
    assert not events(memory, Epoch)


def test_what_cannot_be_found_is_named(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--teacher PATH"):
        run(distill(scenes), tmp_path / "1", Memory())
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"no model")
    with pytest.raises(TeacherError, match="the teacher cannot be loaded"):
        run(distill(scenes), tmp_path / "2", Memory(), Inputs(teacher=broken))
    with pytest.raises(DatasetError):
        run(distill(tmp_path / "nowhere"), tmp_path / "3", Memory(), Inputs(teacher=teacher_path))


def test_labels_that_ultralytics_would_pass_over_in_silence_are_refused(scenes: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes.parent, tmp_path / "copy")
    label = min((tmp_path / "copy" / "labels" / "train").glob("*.txt"))
    label.write_text("0 0.5 0.5 0.1\n")
    with pytest.raises(DatasetError, match=f"^1 problem, the first at .*{label.name}:1"):
        run(train(tmp_path / "copy" / scenes.name), tmp_path / "run", Memory(), Inputs(device="cpu"))


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_the_run(scenes: Path, dataset: Dataset, tmp_path: Path) -> None:
    teacher = build("yolov8n", dataset.names)  # finite weights, but its features overflow
    for module in teacher.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.weight, 6e4)
    save_student(teacher, tmp_path, {})
    with pytest.raises(NanLossError, match="expected a finite loss, got nan in epoch 1, after 0 recoveries"):
        run(distill(scenes), tmp_path / "run", Memory(), Inputs(teacher=tmp_path / "student.pt", device="cpu"))


@pytest.mark.parametrize("bound", ["ge", "gt", "le", "lt"])
def test_ultralytics_takes_every_value_that_the_spec_takes(bound: str) -> None:
    extremes = {}
    for name, field in TrainSettings.model_fields.items():
        for limit in field.metadata:
            if (value := getattr(limit, bound, None)) is not None:
                nudge = {"gt": 1e-6, "lt": -1e-6}.get(bound, 0)
                extremes[name] = type(field.default)(value + nudge)
    settings = TrainSettings.model_validate(extremes)
    check_cfg({k: v for k, v in settings.model_dump(mode="json").items() if k != "freeze"}, hard=True)


class Scaled(torch.nn.Module):
    """A layer whose output is scaled by a factor that its copies share: the teacher that runs is a copy."""

    factor: ClassVar[float] = 1.0

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer, self.f, self.i = layer, layer.f, layer.i

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(x) * Scaled.factor
        return found


class BreaksTheTeacher(Memory):
    """Makes the teacher's features overflow after the first checkpoint, and mends it `after` so many recoveries."""

    def __init__(self, teacher: LoadedModel, after: int) -> None:
        super().__init__()
        layers = teacher.model.model
        layers[0] = Scaled(layers[0])
        self.set_factor(1.0)
        self.left = after

    def emit(self, event: Event) -> None:
        super().emit(event)
        if isinstance(event, Checkpoint) and event.epoch == 1:
            self.set_factor(torch.inf)
        elif event.event == "warning" and self.left == 1:
            self.set_factor(1.0)
        self.left -= event.event == "warning"

    def set_factor(self, value: float) -> None:
        Scaled.factor = value


@pytest.mark.slow
@pytest.mark.parametrize(("after", "recoveries"), [(1, 1), (9, 3)])
def test_a_run_recovers_from_a_loss_that_is_not_finite_at_most_three_times(
    after: int, recoveries: int, dataset: Dataset, teacher_path: Path, tmp_path: Path
) -> None:
    dataset.write_yaml(tmp_path / "data.yaml")
    teacher = load_weights(teacher_path)
    reporter = BreaksTheTeacher(teacher, after)
    settings = TrainSettings.model_validate({**TRAIN, "epochs": 2})
    plan = Plan("yolov8n-half", settings, teacher, Recipe((Decoupled(levels=(32,)),)))
    ends = pytest.raises(NanLossError, match="after 3 recoveries") if after > 3 else nullcontext()
    with ends:
        train_plan(plan, tmp_path / "data.yaml", tmp_path, reporter, "cpu")
    warnings = [(event.code, event.epoch) for event in events(reporter, Warn)]
    # where the run goes on, the probe of its second epoch finds that a teacher of noise drowns the task
    assert warnings == [("nan_recovery", 2)] * recoveries + [("term_drowns_task", 2)] * (after == 1)
    assert [epoch.epoch for epoch in events(reporter, Epoch)] == ([1, 2] if after == 1 else [1])
    newest = resume_state.newest(tmp_path, reporter)
    assert newest is not None
    assert all(value.isfinite().all() for value in newest.state()["model"].values())


@pytest.mark.parametrize(
    ("settings", "pointer"),
    [({"freeze": 23}, "/train/freeze"), ({"imgsz": 32, "batch": 1}, "/train/imgsz")],
)
def test_settings_that_the_trainer_would_break_at_are_refused(
    scenes: Path, teacher_path: Path, tmp_path: Path, settings: dict[str, int], pointer: str
) -> None:
    spec = {"kind": "train", "model": {"path": str(teacher_path)}, "dataset": str(scenes), "train": TRAIN | settings}
    with pytest.raises(SpecError) as caught:
        run(JOB_SPEC.validate_python(spec), tmp_path / "run", Memory(), Inputs(device="cpu"))
    assert [problem.where for problem in caught.value.problems] == [pointer]
