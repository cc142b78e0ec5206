"""What each term does to the student: gradient norms and shares, and the guard against inert terms."""

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from rdrkd.guard import InertGuard
from rdrkd.losses import Output

_STEPS = (1, 100)  # probed beside the first step of every epoch: a backward pass per term is not free


class Probe:
    """Looks at a training step's losses before they are summed.

    Attributes:
        wanted: set it to have the next step probed in full.
        loss_scale: gives AMP's present loss scale, so that probed gradients do not underflow in fp16.
        found: the last full probe, `<term>/<figure>`; gradient norms are of the weighted terms, per image.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = dict(weights)
        self.guard = InertGuard([name for name, weight in weights.items() if weight > 0])
        self.wanted = False
        self.loss_scale: Callable[[], float] = _no_scale
        self.found: dict[str, float] = {}
        self._steps = 0

    def observe(self, task: Tensor, outputs: Mapping[str, Output], student: nn.Module, objects: int) -> None:
        """Take one step.

        Args:
            task: scalar task loss, per image.
            outputs: the terms' outputs, with their graphs.
            student: whose parameters' gradients count.
            objects: ground-truth boxes in the batch.

        Raises:
            TermInertError: an enabled term has not reached the student for too long.
        """
        self._steps += 1
        full = self.wanted or self._steps in _STEPS
        probed = list(outputs) if full else [name for name in outputs if name in self.guard.watching]
        if not probed:
            return
        parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
        norms = {name: self._gradient_norm(self.weights[name] * outputs[name].value, parameters) for name in probed}
        self.guard.observe({name: (float(outputs[name].value.detach()), norms[name]) for name in probed}, objects)
        if full:
            self.wanted = False
            self.found = {"task/gradient_norm": self._gradient_norm(task, parameters)}
            for name, output in outputs.items():
                self.found[f"{name}/gradient_norm"] = norms[name]
                parts = {**output.levels, **output.shares}
                self.found |= {f"{name}/{part}": float(value) for part, value in parts.items()}

    def _gradient_norm(self, value: Tensor, parameters: Iterable[nn.Parameter]) -> float:
        """L2 norm of a value's gradient at the parameters; unscaled where AMP's scale is still too high for it."""
        if not value.requires_grad:
            return 0.0
        norm = 0.0
        for scale in dict.fromkeys((self.loss_scale(), 1.0)):
            gradients = torch.autograd.grad(value * scale, list(parameters), retain_graph=True, allow_unused=True)
            squares = [gradient.float().square().sum() for gradient in gradients if gradient is not None]
            norm = float(torch.stack(squares).sum().sqrt()) / scale if squares else 0.0
            if math.isfinite(norm):
                break
        return norm


def _no_scale() -> float:
    return 1.0
