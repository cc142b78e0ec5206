"""What the probes of a training cost: their number, by steps, times what one was measured to cost."""

import pytest
import torch

from rdrkd.diagnostics.probe import Probe
from rdrkd.distillation.calibration import Calibrator
from rdrkd.losses import Output
from rdrkd.spec import Distillation

# Processor time of one, in steps of `rdr-kd` (YOLOv8s -> n, 160 px, batch 4): docs/diagnostics.md.
MEASUREMENT, PROBE = 0.75, 2.0


@pytest.mark.parametrize("epoch", [20, 50, 99, 100, 101, 150, 400, 2000])
def test_probes_take_under_three_percent_of_a_training(epoch: int) -> None:
    recipe = Distillation(preset="rdr-kd").recipe  # type: ignore[arg-type]
    assert recipe.calibration is not None
    weights = {term.name: 1.0 for term in recipe.terms}
    probe, calibrator = Probe(weights), Calibrator(recipe.calibration, weights)
    student = torch.nn.Linear(1, 1)
    outputs = {name: Output.of({"P2": student.weight.square().sum()}) for name in weights}
    start, steps, spent = 500, 10_500, 0.0
    for step in range(1, steps + 1):
        if step % epoch == 1:
            probe.wanted = True
        before, due = probe.made, calibrator.due()
        norms = probe.observe(student.weight.pow(3).sum(), outputs, student, 1, measure=due)
        if norms is not None:
            calibrator.observe(weights, norms, 1, dict.fromkeys(weights, 1.0))
        if step > start:  # what the start costs once is told apart
            spent += PROBE if probe.made > before else MEASUREMENT * (norms is not None)
    assert 0 < spent <= 0.03 * (steps - start)
