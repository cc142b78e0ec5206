"""Probe each term's effect on the student: gradient norms, shares and directions, and the guard against inert terms.

Figures of a full probe, by name; `<part>` is a level `P2`..`P5`, or a kind of loss such as `class`, `box`:

    task/gradient_norm                    of the task loss, at the student's parameters, per image
    schedule/factor                       the schedule's, by which all terms of the step were multiplied
    <term>/gradient_norm, /ratio          of the weighted term, with that factor, and as a share of the task's
    <term>/cosine                         of the angle between the term's gradient and the task's
    <term>/<part>                         value, unweighted
    <term>/<part>/gradient_norm, /ratio   of the weighted part
    <term>/<level>/hidden_cells, ...      the term's own shares
    teacher/<level>/dead_channels         share of channels that are constant over the batch; student's likewise
    batch/objects, batch/foreground       boxes in the batch, share of the anchors that are responsible for one
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from rdrkd.diagnostics.gradient import Gradient
from rdrkd.diagnostics.guard import InertGuard
from rdrkd.losses import Output, level_name
from rdrkd.models.levels import Tap

_STEPS = (1, 100)  # probed in full, besides requested probes
_AT_ONCE = 5  # requested probes that are made at the next step
_APART = 100  # least steps between later ones: a probe of RDR-KD costs about two steps
_DEAD = 1e-3  # a channel is dead if its deviation is below this share of its map's mean deviation
Maps = Mapping[Tap, Tensor]  # (B, C, H, W) each


class Probe:
    """Examines a training step's losses before they are summed.

    Attributes:
        wanted: set it to request a full probe at the next step, or, after `_AT_ONCE` ones, `_APART` steps after the
            last.
        loss_scale: returns AMP's current loss scale, so that probed gradients do not underflow in fp16.
        found: the figures of the last full probe.
        fresh: whether `found` is unread; the reader clears it.
        full: whether the newest step was probed in full.
        steps: number of steps observed.
        made, last: number of full probes, and the step of the last.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.guard = InertGuard([name for name, weight in weights.items() if weight > 0])
        self.wanted = False
        self.loss_scale: Callable[[], float] = _no_scale
        self.found: dict[str, float] = {}
        self._norms: dict[str, float] = {}  # term or part -> unweighted gradient norm of the last full probe
        self.fresh = self.full = False
        self.steps = 0
        self.made = self.last = 0

    def observe(
        self, task: Tensor, outputs: Mapping[str, Output], student: nn.Module, objects: int, measure: bool = False
    ) -> dict[str, float] | None:
        """Observe one step.

        Args:
            task: scalar task loss, per image.
            outputs: the terms' outputs, unweighted, with their graphs.
            student: the network at whose parameters gradients are measured.
            objects: ground-truth boxes in the batch.
            measure: measure the norms even if no probe is due.

        Returns:
            Gradient norms of `task` and of each UNWEIGHTED term, if measured.

        Raises:
            TermInertError: an enabled term has not reached the student for too long.
        """
        self.steps += 1
        self.full = full = (self.wanted and self._affordable) or self.steps in _STEPS
        names = list(outputs) if full or measure else [name for name in outputs if name in self.guard.watching]
        if not names:
            return None
        gradient = Gradient([each for each in student.parameters() if each.requires_grad], self.loss_scale)
        norms = {"task": gradient.norm(task, keep=full)} if full or measure else {}
        cosines: dict[str, float] = {}
        for name in names:
            norms[name] = gradient.norm(outputs[name].value)
            cosines[name] = gradient.cosine
        self.guard.observe({name: (float(outputs[name].value.detach()), norms[name]) for name in names}, objects)
        if not (full or measure):
            return None
        if full:
            self._report(outputs, norms, cosines, objects, gradient)
        return norms

    def _report(
        self,
        outputs: Mapping[str, Output],
        norms: Mapping[str, float],
        cosines: Mapping[str, float],
        objects: int,
        gradient: Gradient,
    ) -> None:
        """Record a full probe from the measured norms and the terms' parts."""
        self.wanted, self.fresh = False, True
        self.made, self.last = self.made + 1, self.steps
        self.found = {"task/gradient_norm": norms["task"], "batch/objects": float(objects)}
        self._norms = {name: norms[name] for name in outputs}
        for name, output in outputs.items():
            self.found[f"{name}/cosine"] = cosines[name]
            for part, value in output.parts.items():
                self.found[f"{name}/{part}"] = float(value.detach())
                self._norms[f"{name}/{part}"] = gradient.norm(value)
            self.found |= {f"{name}/{share}": float(value) for share, value in output.shares.items()}

    @property
    def _affordable(self) -> bool:
        return self.made < _AT_ONCE or self.steps - self.last >= _APART

    def weigh(self, weights: Mapping[str, float], factor: float) -> None:
        """Complete a full probe with the step's weights and the schedule's factor."""
        task = self.found["task/gradient_norm"]
        self.found["schedule/factor"] = factor
        for name, norm in self._norms.items():
            weighted = weights[name.split("/")[0]] * factor * norm
            self.found[f"{name}/gradient_norm"] = weighted
            self.found[f"{name}/ratio"] = weighted / task if weighted else 0.0

    def look(self, maps: Mapping[str, Maps], foreground: Tensor) -> None:
        """Add figures of the maps and the assignment to a full probe.

        Args:
            maps: `teacher` and `student` -> their maps.
            foreground: (B, A) bool, the anchors that are responsible for an object.
        """
        self.found["batch/foreground"] = float(foreground.float().mean())
        for role, of_role in maps.items():
            for (layers, stride), x in of_role.items():
                level = level_name(stride) if layers == "fpn" else f"{layers}-{level_name(stride)}"
                self.found[f"{role}/{level}/dead_channels"] = dead_channels(x.detach())


def dead_channels(x: Tensor) -> float:
    """Return the share of channels of a map (B, C, H, W) that are nearly constant over batch and cells.

    >>> dead_channels(torch.stack([torch.arange(4.0), torch.ones(4)]).view(1, 2, 2, 2))
    0.5
    """
    deviation = x.float().transpose(0, 1).flatten(1).std(1)
    return float((deviation < _DEAD * deviation.mean().clamp(min=torch.finfo(torch.float32).tiny)).float().mean())


def _no_scale() -> float:
    return 1.0
