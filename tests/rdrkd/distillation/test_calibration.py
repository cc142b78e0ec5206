import math
from pathlib import Path

import pytest

from rdrkd.distillation.calibration import Calibrator
from rdrkd.events import Calibrated, Epoch
from rdrkd.reporter import Memory
from rdrkd.run import Inputs, run
from rdrkd.spec import JOB_SPEC, Calibration
from rdrkd.training import state
from tests.rdrkd.training.conftest import TRAIN

WEIGHTS = {"decoupled": 0.1, "responsive": 1.0, "regenerated": 0.0}


def norms(task: float, decoupled: float, responsive: float = 1.0) -> dict[str, float]:
    return {"task": task, "decoupled": decoupled, "responsive": responsive, "regenerated": 5.0}


def test_each_term_gets_its_share_of_the_task_s_gradient() -> None:
    calibrator = Calibrator(Calibration(share=0.5, shares={"responsive": 0.2}, steps=1), WEIGHTS)
    weights = calibrator.observe(WEIGHTS, norms(task=4.0, decoupled=8.0, responsive=2.0), objects=3)
    assert weights["decoupled"] * 8.0 == pytest.approx(0.5 * 4.0)
    assert weights["responsive"] * 2.0 == pytest.approx(0.2 * 4.0)
    assert weights["regenerated"] == 0  # off stays off
    assert calibrator.done


def test_the_ratio_is_a_geometric_mean_over_the_steps() -> None:
    calibrator = Calibrator(Calibration(share=1.0, steps=2), WEIGHTS)
    calibrator.observe(WEIGHTS, norms(1.0, 1.0), 1)
    assert not calibrator.done
    weights = calibrator.observe(WEIGHTS, norms(1.0, 100.0), 1)
    assert weights["decoupled"] == pytest.approx(0.1)
    assert calibrator.observe(weights, norms(1.0, 1e-9), 1) == weights  # it is done


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
    assert calibrator.observe(WEIGHTS, measured, objects) == WEIGHTS
    assert calibrator.measured == 0


def test_when_a_step_is_measured() -> None:
    start, running = (Calibrator(Calibration(mode=mode, steps=3), WEIGHTS) for mode in ("start", "running"))
    due: dict[str, list[bool]] = {"start": [], "running": []}
    for _ in range(7):
        for name, calibrator in (("start", start), ("running", running)):
            due[name].append(calibrator.due())
            if due[name][-1]:
                calibrator.observe(WEIGHTS, norms(1.0, 1.0), 1)
    assert due["start"] == [True, True, True, False, False, False, False]
    assert due["running"] == [True, False, True, False, False, True, False]


def test_a_running_target_follows_the_gradient() -> None:
    calibrator = Calibrator(Calibration(share=1.0, mode="running", steps=1), WEIGHTS)
    weights = dict(WEIGHTS)
    for _ in range(3):
        weights = calibrator.observe(weights, norms(1.0, 1.0), 1)
    assert weights["decoupled"] == pytest.approx(1.0)
    for _ in range(60):
        weights = calibrator.observe(weights, norms(1.0, 0.01), 1)
    assert weights["decoupled"] == pytest.approx(100.0, rel=1e-2)
    assert not calibrator.done


def test_a_calibrator_goes_on_where_it_was() -> None:
    one = Calibrator(Calibration(mode="running", steps=2), WEIGHTS)
    for task in (1.0, 3.0, 2.0):
        one.due()
        one.observe(WEIGHTS, norms(task, 1.0), 1)
    two = Calibrator(Calibration(mode="running", steps=2), WEIGHTS)
    two.restore(one.state())
    assert one.due() == two.due()
    assert one.observe(WEIGHTS, norms(9.0, 1.0), 1) == two.observe(WEIGHTS, norms(9.0, 1.0), 1)


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
    saved = state.read(tmp_path / "checkpoints" / "0002" / "state.pt")
    assert saved["distillation"]["weights"] == pytest.approx(chosen.weights)


def test_a_share_of_a_term_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shares of the terms \['decoupled'\], got also \['ld'\]"):
        JOB_SPEC.validate_python(
            {
                "kind": "distill", "dataset": "d", "teacher": {"path": "t.pt"}, "student": {"architecture": "yolov8n"},
                "distillation": {"preset": "decoupled", "calibration": {"shares": {"ld": 1.0}}},
            }
        )  # fmt: skip
