"""What is chosen for a user who leaves it open: bounds and monotony over the whole range of what may be found."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from rdrkd.cli import distill_on_service
from rdrkd.cli.choices import Facts, choose
from rdrkd.figures import counted
from rdrkd.run_warnings import steps_of
from rdrkd.spec import TrainSettings

GIB = 2**30


def values(facts: Facts, **given: int) -> dict[str, object]:
    return {choice.name: choice.value for choice in choose(facts, given)}


@pytest.mark.parametrize("images", [None, 1, 7, 60, 572, 6471, 10**6])
@pytest.mark.parametrize("teacher_imgsz", [None, 32, 100, 4096])
def test_every_choice_is_a_valid_setting(images: int | None, teacher_imgsz: int | None) -> None:
    machines: list[dict[str, int]] = [{}, {"cores": 1}, {"cores": 64}, {"gpu_bytes": GIB}, {"gpu_bytes": 140 * GIB}]
    for machine, student in itertools.product(machines, [None, "yolov8n-half", "yolo11x"]):
        chosen = values(Facts(images, 3, teacher_imgsz, student, **machine))
        settings = TrainSettings.model_validate(chosen)
        assert settings.batch <= (images or 64)
        assert settings.warmup_epochs < settings.epochs


@pytest.mark.parametrize("epochs", [1, 2, 5, 29, 30])
def test_a_short_training_is_not_all_warm_up(epochs: int) -> None:
    settings = TrainSettings.model_validate(values(Facts(images=100, cores=2), epochs=epochs))
    assert settings.warmup_epochs <= epochs / 10


def test_one_is_counted_in_the_singular() -> None:
    reasons = [choice.why for choice in choose(Facts(images=1, classes=1, cores=2), {"epochs": 1, "batch": 1})]
    assert "a tenth of 1 epoch" in reasons
    assert not [why for why in reasons if " 1 epochs" in why or " 1 steps" in why or " 1 classes" in why]


def test_a_batch_grows_with_the_memory_and_shrinks_with_the_input() -> None:
    def batch(gib: int, imgsz: int, student: str) -> object:
        return values(Facts(images=10**5, student=student, gpu_bytes=gib * GIB), imgsz=imgsz)["batch"]

    assert [batch(gib, 640, "yolov8n") for gib in (4, 16, 80)] == [4, 16, 64]
    assert batch(16, 1280, "yolov8n") < batch(16, 640, "yolov8n")  # type: ignore[operator]
    assert batch(16, 640, "yolov8x-p2") < batch(16, 640, "yolov8n")  # type: ignore[operator]


def test_what_is_given_stands_and_says_so() -> None:
    chosen = {
        choice.name: choice for choice in choose(Facts(images=100, teacher_imgsz=320), {"imgsz": 640, "batch": 3})
    }
    assert (chosen["imgsz"].value, chosen["batch"].value) == (640, 3)
    assert chosen["batch"].why == "as --batch says"


@pytest.mark.parametrize("images", [1, 48, 190, 1000, 6471, 10**5])
@pytest.mark.parametrize("epochs", [None, 1, 10, 300])
def test_few_images_get_a_step_after_every_batch(images: int, epochs: int | None) -> None:
    choices = {choice.name: choice for choice in choose(Facts(images=images, cores=2), {"epochs": epochs})}
    batch, nbs = choices["batch"].value, choices["nbs"].value if "nbs" in choices else 64
    steps = steps_of(images, choices["epochs"].value, batch, nbs)
    assert ("nbs" in choices) == (steps_of(images, choices["epochs"].value, batch, 64) < 1000)
    assert nbs in (batch, 64)
    assert f"for {counted(steps, 'step')}" in choices["optimizer"].why, "one count of the steps everywhere"


def test_an_input_smaller_than_the_teachers_is_remarked_on() -> None:
    facts = Facts(images=100, teacher_imgsz=256)
    why = {imgsz: choose(facts, {"imgsz": imgsz})[0].why for imgsz in (160, 256, 320)}
    assert "the teacher was trained at 256 px and detects less here" in why[160]
    assert why[256] == why[320] == "as --imgsz says"


def test_a_service_without_gpus_is_asked_for_its_cores() -> None:
    """The smallest worker may get the job."""
    trainers = [{"queue": "train", "alive": True, "devices": [], "cpus": cpus} for cpus in (16, 2)]
    others = [{"queue": "inspect", "alive": True, "devices": [], "cpus": 1}]
    service: Any = SimpleNamespace(workers=lambda: trainers + others)
    reports: dict[str, dict[str, Any]] = {"--data": {}, "--teacher": {}}
    assert distill_on_service._facts_of(service, {"model": "mdl_1"}, {}, reports).cores == 2
