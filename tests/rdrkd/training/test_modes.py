"""Every way to train, in small: what the mode is about is looked at, and the terms must reach the student in each."""

import math
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from rdrkd.data import Dataset, open_dataset
from rdrkd.data.scenes import write_scenes
from rdrkd.errors import MachineError, PairError
from rdrkd.events import Warn
from rdrkd.models import build, load_weights, save_student
from rdrkd.training.precision import dtype_of
from rdrkd.training.trainer import Trainer
from rdrkd.ultralytics_adapter import compiled
from tests.rdrkd.training.conftest import Begin, finish, losses

TERMS = {"regenerated", "decoupled", "responsive"}


def assert_terms_reach_the_student(trainer: Trainer) -> None:
    assert trainer.distiller is not None
    assert not trainer.distiller.probe.guard.watching
    told = losses(trainer)
    assert set(told) >= TERMS
    assert all(math.isfinite(value) for value in told.values())
    assert all(told[name] > 0 for name in TERMS)


def warned(trainer: Trainer) -> list[Warn]:
    return [event for event in trainer.epoch_events.reporter.events if isinstance(event, Warn)]  # type: ignore[attr-defined]


def seen_sizes(trainer: Trainer) -> set[tuple[int, int]]:
    """Heights and widths of the batches; filled while the trainer runs."""
    sizes: set[tuple[int, int]] = set()
    original = trainer.preprocess_batch

    def note(batch: dict[str, Any]) -> dict[str, Any]:
        prepared = original(batch)
        sizes.add(tuple(prepared["img"].shape[2:]))  # type: ignore[arg-type]
        return prepared

    trainer.preprocess_batch = note  # type: ignore[method-assign]
    return sizes


def crowd(folder: Path, images: int, boxes: int) -> Dataset:
    """Images that hold `boxes` objects each; every third holds none."""
    random = np.random.default_rng(0)
    for split, count in (("train", images), ("val", 2)):
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
        for index in range(count):
            picture = random.integers(0, 255, (96, 96, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / "images" / split / f"{index}.png"), picture)
            found = 0 if split == "train" and index % 3 == 2 else boxes
            rows = [
                f"{random.integers(3)} {x:.4f} {y:.4f} 0.05 0.05" for x, y in random.uniform(0.05, 0.95, (found, 2))
            ]
            (folder / "labels" / split / f"{index}.txt").write_text("\n".join(rows))
    (folder / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: [car, bus, truck]\n")
    return open_dataset(folder, folder)


@pytest.fixture
def three_classes(tmp_path: Path) -> Path:
    (tmp_path / "three").mkdir()
    save_student(build("yolov8n", ["car", "bus", "truck"]), tmp_path / "three", {})
    return tmp_path / "three" / "student.pt"


# --- mixed precision ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("amp", "dtype"),
    [
        ("bf16", torch.bfloat16),
        ("fp16", torch.float16),
        (False, torch.float32),
    ],
)
def test_amp_runs_the_networks_in_its_type_and_the_terms_in_fp32(amp: Any, dtype: torch.dtype, begin: Begin) -> None:
    trainer = begin(epochs=2, amp=amp, imgsz=64)  # fp16 is slow on a CPU
    types: dict[str, set[torch.dtype]] = {"student": set(), "teacher": set(), "terms": set()}

    def watch(_trainer: Trainer) -> None:
        assert trainer.distiller is not None
        # The teacher's layer as a whole: its convolution and activation may be one operation.
        layers = {
            "student": trainer.distiller.student_model.model[1].conv,
            "teacher": trainer.distiller.teacher_model.model[1],
        }
        for role, layer in layers.items():
            layer.register_forward_hook(lambda m, i, out, role=role: types[role].add(out.dtype))
        for term in trainer.distiller.projector["terms"].values():
            term.register_forward_hook(lambda m, i, out: types["terms"].add(out.value.dtype))

    trainer.add_callback("on_train_start", watch)
    finish(trainer)
    assert types["teacher"] == {dtype}
    assert types["student"] - {torch.float32} == {dtype} - {torch.float32}
    assert types["terms"] == {torch.float32}
    assert trainer.scaler.is_enabled() == (amp == "fp16")
    assert_terms_reach_the_student(trainer)


def test_amp_true_is_fp16_on_a_gpu_and_nothing_on_the_cpu() -> None:
    assert dtype_of(True, torch.device("cpu")) is None
    assert dtype_of(False, torch.device("cuda", 0)) is None


@pytest.mark.slow
def test_after_a_training_ultralytics_is_as_it_was(begin: Begin) -> None:
    from rdrkd.ultralytics_adapter import engine_trainer

    before = engine_trainer.autocast
    finish(begin(amp="bf16"))
    assert engine_trainer.autocast is before


# --- gradient accumulation ---


@pytest.mark.slow
def test_gradients_are_accumulated_up_to_the_nominal_batch(begin: Begin) -> None:
    trainer = begin(epochs=2, nbs=12)
    steps: list[int] = []
    trainer.add_callback("on_train_batch_end", lambda t: steps.append(t.last_step))
    finish(trainer)
    assert steps == [-1, -1, 2, 2, 2, 5]  # three batches of four images an epoch
    assert_terms_reach_the_student(trainer)


# --- what the images are ---


@pytest.mark.slow
def test_multi_scale_changes_the_size_from_batch_to_batch(begin: Begin) -> None:
    trainer = begin(epochs=3, multi_scale=0.5)
    sizes = seen_sizes(trainer)
    finish(trainer)
    assert len(sizes) > 1
    assert all(side % 32 == 0 for size in sizes for side in size)
    assert_terms_reach_the_student(trainer)


@pytest.mark.slow
def test_the_last_epochs_have_no_mosaic(begin: Begin) -> None:
    trainer = begin(epochs=3, close_mosaic=2, cache="ram")
    mosaic: list[float] = []
    trainer.add_callback(
        "on_train_batch_end", lambda t: mosaic.append(t.train_loader.dataset.transforms.transforms[0].transforms[0].p)
    )
    finish(trainer)
    assert mosaic == [1.0] * 3 + [0.0] * 6
    assert_terms_reach_the_student(trainer)


@pytest.mark.slow
def test_rectangular_batches(begin: Begin, teacher_path: Path, tmp_path: Path) -> None:
    wide = write_scenes(tmp_path / "wide", "demo", {"train": 8, "val": 2}, (160, 64), seed=1)
    trainer = begin(data=open_dataset(wide, tmp_path), imgsz=160, rect=True)
    sizes = seen_sizes(trainer)
    finish(trainer)
    assert sizes == {(64, 160)}
    assert_terms_reach_the_student(trainer)


@pytest.mark.slow
def test_images_without_objects(begin: Begin, dataset: Dataset, tmp_path: Path) -> None:
    shutil.copytree(dataset.root, tmp_path / "sparse")
    labels = sorted((tmp_path / "sparse" / "labels" / "train").glob("*.txt"))
    for file in labels[:-2]:
        file.write_text("")
    trainer = begin(data=open_dataset(tmp_path / "sparse", tmp_path), epochs=2, mosaic=0, batch=2, nbs=2)
    objects: list[int] = []
    trainer.add_callback("on_train_start", lambda t: t.distiller.student_model.register_forward_hook(lambda *_: None))
    original = trainer.preprocess_batch

    def note(batch: dict[str, Any]) -> dict[str, Any]:
        objects.append(len(batch["bboxes"]))
        return original(batch)

    trainer.preprocess_batch = note  # type: ignore[method-assign]
    finish(trainer)
    assert 0 in objects
    assert max(objects) > 0
    assert_terms_reach_the_student(trainer)


@pytest.mark.slow
def test_a_mosaic_of_more_than_a_thousand_boxes(begin: Begin, three_classes: Path, tmp_path: Path) -> None:
    data = crowd(tmp_path / "crowd", images=6, boxes=1300)
    trainer = begin(data=data, teacher=three_classes, batch=2, nbs=2, translate=0, scale=0)
    most: list[int] = []
    original = trainer.preprocess_batch

    def note(batch: dict[str, Any]) -> dict[str, Any]:
        most.append(int(batch["batch_idx"].long().bincount().max()))
        return original(batch)

    trainer.preprocess_batch = note  # type: ignore[method-assign]
    finish(trainer)
    assert max(most) > 1000
    assert_terms_reach_the_student(trainer)


@pytest.mark.slow
def test_the_student_alone_sees_the_very_same_images(begin: Begin, tmp_path: Path) -> None:
    seen: dict[str, list[torch.Tensor]] = {"none": [], "rdr-kd": []}
    for preset, images in seen.items():
        trainer = begin(folder=tmp_path / preset, epochs=2, distillation={"preset": preset}, multi_scale=0.5)
        original = trainer.preprocess_batch

        def note(batch: dict[str, Any], original: Any = original, images: Any = images) -> dict[str, Any]:
            prepared: dict[str, Any] = original(batch)
            images.append(prepared["img"])
            return prepared

        trainer.preprocess_batch = note  # type: ignore[method-assign]
        finish(trainer)
    assert len(seen["none"]) == 6
    assert all(torch.equal(one, other) for one, other in zip(*seen.values(), strict=True))


# --- what of the student is trained ---


@pytest.mark.slow
def test_frozen_layers_stay_as_they_are_and_the_rest_learns(begin: Begin, tmp_path: Path) -> None:
    trainer = begin(freeze=5, lr0=0.01)
    before: dict[str, torch.Tensor] = {}
    trainer.add_callback(
        "on_train_start", lambda t: before.update({k: v.clone() for k, v in t.distiller.state_dict().items()})
    )
    after = finish(trainer)["model"]
    frozen = [key for key in before if any(key.startswith(f"student_model.model.{layer}.") for layer in range(5))]
    assert frozen
    assert all(torch.equal(before[key], after[key]) for key in frozen if "num_batches" not in key)
    assert not torch.equal(
        before["student_model.model.9.cv1.conv.weight"], after["student_model.model.9.cv1.conv.weight"]
    )
    adapter = "projector.adapters.shared-fpn-8.weight"
    assert not torch.equal(before[adapter], after[adapter])
    assert_terms_reach_the_student(trainer)


@pytest.mark.slow
def test_all_classes_as_one(begin: Begin, tmp_path: Path) -> None:
    save_student(build("yolov8n", ["item"]), tmp_path, {})
    trainer = begin(teacher=tmp_path / "student.pt", single_cls=True)
    finish(trainer)
    assert load_weights(trainer.run_dir / "student.pt").names == ("item",)
    assert_terms_reach_the_student(trainer)


def test_all_classes_as_one_need_a_teacher_of_one_class(begin: Begin) -> None:
    with pytest.raises(PairError, match=r"a teacher of the dataset's classes \['item'\]"):
        begin(single_cls=True).train()


# --- what may go wrong ---


class NotEnoughMemory(torch.nn.Module):
    """A teacher's first layer that has room for so many images."""

    def __init__(self, layer: Any, images: int) -> None:
        super().__init__()
        self.layer, self.images, self.f, self.i = layer, images, layer.f, layer.i

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.images:
            raise torch.OutOfMemoryError(f"CUDA out of memory: {len(x)} images")
        found: torch.Tensor = self.layer(x)
        return found


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_halved_told_and_kept_by_a_resume(begin: Begin) -> None:
    trainer = begin(epochs=2)
    probe = trainer.setup_model

    def small() -> None:
        probe()
        assert trainer.distiller is not None
        layers = trainer.distiller.teacher_model.model  # the copy that runs
        layers[0] = NotEnoughMemory(layers[0], images=2)

    trainer.setup_model = small  # type: ignore[method-assign]
    saved = finish(trainer)
    assert [(warning.message, warning.epoch) for warning in warned(trainer) if warning.code == "batch_reduced"] == [
        ("out of memory with batches of 4 images: training continues with 2 (train.batch)", 1)
    ]
    assert saved["batch"] == 2
    assert begin(epochs=3).batch_size == 2
    assert_terms_reach_the_student(trainer)


# --- warnings under a schedule ---


@pytest.mark.slow
def test_a_schedule_that_begins_low_warns_of_no_weak_term(begin: Begin) -> None:
    calibration = {"share": 0.1, "mode": "running", "steps": 1}
    trainer = begin(distillation={"calibration": calibration, "schedule": {"warmup_epochs": 1000}}, epochs=3)
    finish(trainer)
    assert trainer.distiller is not None
    assert 0 < trainer.distiller.probe.found["decoupled/ratio"] < 1e-3, "what the schedule has made of it"
    assert "term_weak" not in [warning.code for warning in warned(trainer)]


@pytest.mark.slow
def test_a_schedule_that_rises_warns_with_the_weight_that_was_set(begin: Begin) -> None:
    distillation = {"losses": [{"name": "decoupled", "weight": 1000}], "schedule": {"warmup_epochs": 20}}
    trainer = begin(epochs=3, distillation=distillation)
    finish(trainer)
    (warning,) = warned(trainer)
    assert (warning.code, warning.epoch) == ("term_drowns_task", 3)
    assert "the schedule's factor of 0.1 left out" in warning.message
    assert "lower its weight (now 1e+03;" in warning.message


# --- torch.compile ---


@pytest.mark.slow  # two networks are compiled, forward and backward
def test_student_and_teacher_compiled_learn_what_they_learn_uncompiled(begin: Begin, tmp_path: Path) -> None:
    plain = finish(begin(folder=tmp_path / "plain", mosaic=0))
    trainer = begin(folder=tmp_path / "compiled", mosaic=0, compile=True)
    fast = finish(trainer)
    for key, value in plain["model"].items():
        torch.testing.assert_close(fast["model"][key], value, rtol=1e-2, atol=1e-3, msg=key)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2
    assert_terms_reach_the_student(trainer)


def test_without_a_compiler_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(MachineError, match="a C\\+\\+ compiler"):
        compiled(len, torch.device("cpu"))
