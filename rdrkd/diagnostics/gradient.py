"""A loss's gradient at the student's parameters, reduced to figures while the backward pass runs.

A whole gradient is as large as the student, and a measured step has one for the task and one for each term while all
activations are alive. Each parameter's part is therefore squared, summed and freed as soon as it is complete.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Gradient:
    """Measures gradients at the same parameters, one loss after the other.

    Args:
        parameters: where the gradient is taken.
        loss_scale: returns AMP's current loss scale, so that gradients do not underflow in fp16.

    Attributes:
        cosine: cosine of the angle between the last measured and the kept gradient; 0 without either.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], loss_scale: Callable[[], float]) -> None:
        self._parameters = list(parameters)
        self._loss_scale = loss_scale
        self._kept: dict[int, Tensor] = {}
        self._kept_norm = 0.0
        self._squares: dict[int, Tensor] = {}  # parameter index -> sum of squares
        self._products: dict[int, Tensor] = {}
        self.cosine = 0.0

    def norm(self, value: Tensor, keep: bool = False) -> float:
        """Return the norm of a scalar's gradient; measure it unscaled while AMP's scale is too high.

        Args:
            value: the scalar, with its graph, which is retained.
            keep: keep the gradient to compare later ones with it.
        """
        found = 0.0
        for scale in dict.fromkeys((self._loss_scale(), 1.0)):
            found = self._measure(value, scale, keep)
            if math.isfinite(found):
                break
        if keep:
            self._kept_norm = found
        norms = found * self._kept_norm
        self.cosine = _total(self._products) / norms if self._products and norms else 0.0
        return found

    def _measure(self, value: Tensor, scale: float, keep: bool) -> float:
        self._squares, self._products = {}, {}
        if keep:
            self._kept = {}
        if value.requires_grad:
            with self._watching(scale, keep):
                torch.autograd.grad(value * scale, self._parameters, retain_graph=True, allow_unused=True)
        return math.sqrt(_total(self._squares))

    @contextmanager
    def _watching(self, scale: float, keep: bool) -> Iterator[None]:
        """Reduce each parameter's gradient when it is complete, and pass autograd a scalar in its place."""

        def watch(place: int) -> Callable[[Tensor], Tensor]:
            def look(part: Tensor) -> Tensor:
                gradient = part.float() / scale
                self._squares[place] = gradient.square().sum()
                if place in self._kept:
                    self._products[place] = (gradient * self._kept[place]).sum()
                if keep:
                    self._kept[place] = gradient
                return part.new_zeros(()).expand_as(part)

            return look

        handles = [each.register_hook(watch(place)) for place, each in enumerate(self._parameters)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _total(parts: dict[int, Tensor]) -> float:
    """Sum scalars in the order of the parameters, which does not depend on the backward pass."""
    return float(torch.stack([parts[place] for place in sorted(parts)]).sum()) if parts else 0.0
