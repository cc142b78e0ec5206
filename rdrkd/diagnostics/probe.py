"""What each term does to the student: gradient norms, shares and directions, and the guard against inert terms.

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

_STEPS = (1, 100)  # probed in full, beside what is asked for
_AT_ONCE = 5  # probes that are made as soon as they are wanted
_APART = 100  # steps from one of the later ones to the next: a probe of RDR-KD costs about two steps
_DEAD = 1e-3  # a channel is dead whose deviation is below this share of its map's mean deviation
Maps = Mapping[Tap, Tensor]  # (B, C, H, W) each


class Probe:
    """Looks at a training step's losses before they are summed.

    Attributes:
        wanted: set it to have the next step probed in full, or, once `_AT_ONCE` were, that `_APART` after the last.
        loss_scale: gives AMP's present loss scale, so that probed gradients do not underflow in fp16.
        found: the figures of the last full probe.
        fresh: whether `found` has not been looked at yet; the reader clears it.
        full: whether the newest step was probed in full.
        steps: steps observed so far.
        made, last: how many full probes there were, and the step of the last.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.guard = InertGuard([name for name, weight in weights.items() if weight > 0])
        self.wanted = False
        self.loss_scale: Callable[[], float] = _no_scale
        self.found: dict[str, float] = {}
        self._norms: dict[str, float] = {}  # of the last full probe, unweighted, by term and by part
        self.fresh = self.full = False
        self.steps = 0
        self.made = self.last = 0

    def observe(
        self, task: Tensor, outputs: Mapping[str, Output], student: nn.Module, objects: int, measure: bool = False
    ) -> dict[str, float] | None:
        """Take one step.

        Args:
            task: scalar task loss, per image.
            outputs: the terms' outputs, unweighted, with their graphs.
            student: whose parameters' gradients count.
            objects: ground-truth boxes in the batch.
            measure: have the norms measured, whether or not a probe is due.

        Returns:
            Gradient norms of `task` and of each UNWEIGHTED term, where they were measured.

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
        """Make a full probe of what was measured, and of the terms' parts."""
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
        """Complete a full probe by the weights and the schedule's factor that its step is trained with."""
        task = self.found["task/gradient_norm"]
        self.found["schedule/factor"] = factor
        for name, norm in self._norms.items():
            weighted = weights[name.split("/")[0]] * factor * norm
            self.found[f"{name}/gradient_norm"] = weighted
            self.found[f"{name}/ratio"] = weighted / task if weighted else 0.0

    def look(self, maps: Mapping[str, Maps], foreground: Tensor) -> None:
        """Add to a full probe what maps and assignment tell.

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
    """Share of the channels of a map (B, C, H, W) that are constant over batch and cells, next to the others.

    >>> dead_channels(torch.stack([torch.arange(4.0), torch.ones(4)]).view(1, 2, 2, 2))
    0.5
    """
    deviation = x.float().transpose(0, 1).flatten(1).std(1)
    return float((deviation < _DEAD * deviation.mean().clamp(min=torch.finfo(torch.float32).tiny)).float().mean())


def _no_scale() -> float:
    return 1.0
