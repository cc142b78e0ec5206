import itertools
import math
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rdrkd.distillation.calibration import Calibrator
from rdrkd.events import Calibrated, Epoch
from rdrkd.reporter import Memory
from rdrkd.run.run import Inputs, run
from rdrkd.spec import JOB_SPEC, Calibration
from rdrkd.training import resume_state
from tests.rdrkd.training.conftest import TRAIN

WEIGHTS = {"decoupled": 0.1, "responsive": 1.0, "regenerated": 0.0}
VALUES = {"decoupled": 2.0, "responsive": 3.0, "regenerated": 4.0}


def norms(task: float, decoupled: float, responsive: float = 1.0) -> dict[str, float]:
    return {"task": task, "decoupled": decoupled, "responsive": responsive, "regenerated": 5.0}


def test_each_term_gets_its_share_of_the_task_s_gradient() -> None:
    calibrator = Calibrator(Calibration(share=0.5, shares={"responsive": 0.2}, steps=1), WEIGHTS)
    weights = calibrator.observe(WEIGHTS, norms(task=4.0, decoupled=8.0, responsive=2.0), objects=3, values=VALUES)
    assert weights["decoupled"] * 8.0 == pytest.approx(0.5 * 4.0)
    assert weights["responsive"] * 2.0 == pytest.approx(0.2 * 4.0)
    assert weights["regenerated"] == 0  # off stays off
    assert calibrator.done


def test_the_ratio_is_a_geometric_mean_over_the_steps() -> None:
    calibrator = Calibrator(Calibration(share=1.0, steps=2), WEIGHTS)
    calibrator.observe(WEIGHTS, norms(1.0, 1.0), 1, VALUES)
    assert not calibrator.done
    weights = calibrator.observe(WEIGHTS, norms(1.0, 100.0), 1, VALUES)
    assert weights["decoupled"] == pytest.approx(0.1)
    assert calibrator.observe(weights, norms(1.0, 1e-9), 1, VALUES) == weights  # it is done


@pytest.mark.parametrize(
    ("measured", "objects"),
    [
        (norms(math.inf, 1.0), 1),
        (norms(1.0, math.nan), 1),
        (norms(1.0, 0.0), 1),
        (norms(0.0, 1.0), 1),
        (norms(1, 1), 0),
    ],
)
def test_a_step_that_tells_nothing_does_not_count(measured: dict[str, float], objects: int) -> None:
    calibrator = Calibrator(Calibration(steps=1), WEIGHTS)
    assert calibrator.observe(WEIGHTS, measured, objects, VALUES) == WEIGHTS
    assert calibrator.measured == 0


def test_when_a_step_is_measured() -> None:
    start, running = (Calibrator(Calibration(mode=mode, steps=3), WEIGHTS) for mode in ("start", "running"))
    due: dict[str, list[bool]] = {"start": [], "running": []}
    for _ in range(7):
        for name, calibrator in (("start", start), ("running", running)):
            due[name].append(calibrator.due())
            if due[name][-1]:
                calibrator.observe(WEIGHTS, norms(1.0, 1.0), 1, VALUES)
    assert due["start"] == [True, True, True, False, False, False, False]
    assert due["running"] == [True, True, True, True, False, True, False]


def measured_at(steps: int, interval: int) -> list[int]:
    calibrator, found = Calibrator(Calibration(mode="running", steps=interval), WEIGHTS), []
    for step in range(1, steps + 1):
        if calibrator.due():
            found.append(step)
            calibrator.observe(WEIGHTS, norms(1.0, 1.0), 1, VALUES)
    return found


def test_running_weights_are_measured_often_early_and_seldom_late() -> None:
    found = measured_at(1000, 50)
    assert found[:10] == [1, 2, 3, 4, 6, 9, 13, 19, 28, 42]
    late = [step for step in found if step > 150]
    assert {b - a for a, b in itertools.pairwise(late)} == {50}


def test_a_running_target_follows_the_gradient() -> None:
    calibrator = Calibrator(Calibration(share=1.0, mode="running", steps=1), WEIGHTS)
    weights = dict(WEIGHTS)
    for _ in range(3):
        weights = calibrator.observe(weights, norms(1.0, 1.0), 1, VALUES)
    assert weights["decoupled"] == pytest.approx(1.0)
    for _ in range(60):
        weights = calibrator.observe(weights, norms(1.0, 0.01), 1, VALUES)
    assert weights["decoupled"] == pytest.approx(100.0, rel=1e-2)
    assert not calibrator.done


def test_a_calibrator_goes_on_where_it_was() -> None:
    one = Calibrator(Calibration(mode="running", steps=2), WEIGHTS)
    for task in (1.0, 3.0, 2.0):
        one.due()
        one.observe(WEIGHTS, norms(task, 1.0), 1, VALUES)
    two = Calibrator(Calibration(mode="running", steps=2), WEIGHTS)
    two.restore(one.state())
    assert one.due() == two.due()
    assert one.observe(WEIGHTS, norms(9.0, 1.0), 1, VALUES) == two.observe(WEIGHTS, norms(9.0, 1.0), 1, VALUES)


# A term's gradient at the student, by step, beside a task whose gradient stays 1; its value goes with the gradient.
COURSES: dict[str, Callable[[int], float]] = {
    "steady": lambda _step: 3.0,
    "falls early by orders of magnitude": lambda step: 1e4 * step**-1.5,
    "grows early": lambda step: 0.01 * step,
    "fades and returns at once": lambda step: 1e-4 if 200 <= step < 500 else 1.0,
    "fades slowly and returns at once": lambda step: math.exp(-step / 40) if step < 600 else 1.0,
    "returns between two measurements": lambda step: 1e-5 if step % 50 else 1.0,
    "swings": lambda step: math.exp(1.5 * math.sin(step / 30)),
}


def ratios(gradient: Callable[[int], float], steps: int = 900, squared: bool = False) -> list[float]:
    """What the weighted term's gradient is to the task's, step by step, under a running share of 1."""
    calibrator = Calibrator(Calibration(share=1.0, mode="running", steps=50), {"decoupled": 0.1})
    weights, found = {"decoupled": 0.1}, []
    for step in range(1, steps + 1):
        size = gradient(step)
        value = size**2 if squared else size  # of an L2 term, of an L1 term
        if calibrator.due():
            weights = calibrator.observe(weights, {"task": 1.0, "decoupled": size}, 1, {"decoupled": value})
        found.append(weights["decoupled"] * size * float(calibrator.restraint("decoupled", torch.tensor(value))))
    return found


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("course", COURSES)
def test_a_running_term_never_gets_far_over_its_share(course: str, squared: bool) -> None:
    assert max(ratios(COURSES[course], squared=squared)) <= 8 + 1e-6  # growth 2 x value 4, between two measurements


@pytest.mark.parametrize("course", ["steady", "falls early by orders of magnitude", "grows early"])
def test_a_running_term_has_its_share_from_the_first_steps_on(course: str) -> None:
    found = ratios(COURSES[course])
    assert 0.3 < statistics.median(found[19:119]) < 2
    assert all(0.1 < ratio < 2.3 for ratio in found[19:119])


def test_weights_that_were_found_at_the_start_are_not_restrained() -> None:
    calibrator = Calibrator(Calibration(steps=1), WEIGHTS)
    calibrator.observe(WEIGHTS, norms(1.0, 1.0), 1, VALUES)
    assert float(calibrator.restraint("decoupled", torch.tensor(1e9))) == 1


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_a_restraint_is_finite_and_hides_no_lost_loss(value: float) -> None:
    calibrator = Calibrator(Calibration(mode="running"), WEIGHTS)
    calibrator.observe(WEIGHTS, norms(1.0, 1.0), 1, VALUES)
    factor = calibrator.restraint("decoupled", torch.tensor(value))
    assert 0 <= float(factor) <= 1
    assert math.isfinite(value * float(factor)) == math.isfinite(value)


@pytest.mark.slow
def test_the_chosen_weights_hold_and_stand_in_the_resolved_spec(
    scenes: Path, teacher_path: Path, tmp_path: Path
) -> None:
    spec = JOB_SPEC.validate_python(
        {
            "kind": "distill", "teacher": {"path": str(teacher_path)}, "student": {"architecture": "yolov8n-half"},
            "dataset": str(scenes), "train": {**TRAIN, "epochs": 2},
            "distillation": {"calibration": {"share": 0.5, "shares": {"responsive": 2.0}, "steps": 2}},
        }
    )  # fmt: skip
    memory = Memory()
    run(spec, tmp_path, memory, Inputs(device="cpu"))
    (chosen,) = (event for event in memory.events if isinstance(event, Calibrated))
    assert chosen.measured == 2
    last = [event for event in memory.events if isinstance(event, Epoch)][-1]
    assert last.weights == pytest.approx(chosen.weights)
    resolved = [event.resolved_spec for event in memory.events if event.event == "resolved"]  # type: ignore[union-attr]
    assert [len(resolved), resolved[0]["distillation"]["losses"][1]["weight"]] == [2, 0.1]
    weights = {term["name"]: term["weight"] for term in resolved[-1]["distillation"]["losses"]}
    assert weights == pytest.approx(chosen.weights)
    # the first probe is told with the weights that it has led to
    first = next(event for event in memory.events if isinstance(event, Epoch)).diagnostics
    assert first["responsive/ratio"] == pytest.approx(2.0)
    assert first["decoupled/ratio"] == pytest.approx(0.5)
    saved = resume_state.read(tmp_path / "checkpoints" / "0002" / "state.pt")
    assert saved["distillation"]["weights"] == pytest.approx(chosen.weights)


def test_a_share_of_a_term_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shares of the terms \['decoupled'\], got also \['ld'\]"):
        JOB_SPEC.validate_python(
            {
                "kind": "distill", "dataset": "d", "teacher": {"path": "t.pt"}, "student": {"architecture": "yolov8n"},
                "distillation": {"preset": "decoupled", "calibration": {"shares": {"ld": 1.0}}},
            }
        )  # fmt: skip
