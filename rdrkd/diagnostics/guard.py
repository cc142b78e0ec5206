"""Fail on a silently inert loss term, the commonest bug of public YOLO distillation code."""

import math

from rdrkd.errors import TermInertError

STEPS = 20  # steps with objects after which every enabled term must have reached the student


class InertGuard:
    """Watches each enabled term until it has once been finite and non-zero, with a non-zero gradient at the student.

    Batches without objects do not count, nor do steps whose gradient is not finite (AMP's first loss scales).
    """

    def __init__(self, terms: list[str]) -> None:
        self.watching: dict[str, str] = dict.fromkeys(terms, "never computed")
        self._steps = 0

    def observe(self, figures: dict[str, tuple[float, float]], objects: int) -> None:
        """Check one step's figures of the watched terms.

        Args:
            figures: term name -> (value, gradient norm at the student's parameters).
            objects: ground-truth boxes in the batch.

        Raises:
            TermInertError: a term is still watched after `STEPS` steps with objects.
        """
        for name, (value, norm) in figures.items():
            if math.isfinite(value) and value != 0 and math.isfinite(norm) and norm > 0:
                self.watching.pop(name, None)
            elif name in self.watching:
                self.watching[name] = f"value {value:g}, gradient norm {norm:g}"
        self._steps += objects > 0
        if self.watching and self._steps >= STEPS:
            seen = "; ".join(f"{name}: {last}" for name, last in self.watching.items())
            raise TermInertError(
                f"expected every enabled term to reach the student within {STEPS} steps with objects, got {seen}"
            )
