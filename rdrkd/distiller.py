"""A teacher, a student and the loss terms between them, in the shape that Ultralytics' trainer understands.

    L = L_task + sum_i weight_i * L_i                                     RDR-KD, Eq. 11

Ultralytics' own `DistillationModel` is the base class because its trainer, EMA and optimiser know it; its one loss
and its hooks are replaced. The teacher is a guest: outside the module tree, so in no optimiser group, no EMA, no
checkpoint. Adapters and procreate modules live under `projector`, train with the student and are never exported.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn

from rdrkd.guard import InertGuard
from rdrkd.losses import Context, Head, LossTerm, Output, build
from rdrkd.models.levels import Level, Tap, levels_of
from rdrkd.spec import Responsive, Term
from rdrkd.ultralytics_adapter import DetectionModel, DistillationModel, branch, copy_attr, decode_boxes

_DIAGNOSED_STEPS = (1, 100)


class Distiller(DistillationModel):  # type: ignore[misc]
    """Computes task loss and distillation terms of a batch; called as a model it is the student.

    Args:
        teacher: a trained detector, on any device; it is frozen.
        student: the detector to train, with `args`, `names` and `nc` set.
        terms: the weighted loss terms.
    """

    def __init__(self, teacher: DetectionModel, student: DetectionModel, terms: Sequence[Term]) -> None:
        nn.Module.__init__(self)
        self.student_model = student
        self.__dict__["teacher_model"] = teacher.eval().requires_grad_(False)  # past Module.__setattr__: unregistered
        copy_attr(self, student)
        self.weights = {term.name: term.weight for term in terms}
        self._taps = {term.name: _taps(term) for term in terms}
        taps = sorted({tap for taps in self._taps.values() for tap in taps})
        self._student_levels = levels_of(student, taps, "student")
        self._teacher_levels = levels_of(teacher, taps, "teacher")
        with torch.random.fork_rng(devices=[]):  # the baseline of the same seed must draw the same numbers
            self.projector = self._projector(terms)
        self.projector.to(next(student.parameters()).device)
        self.guard = InertGuard([name for name, weight in self.weights.items() if weight > 0])
        self.gradient_scale = 1.0  # loss scale under AMP, so that probed gradients do not underflow
        self.steps = 0
        self.diagnose = False  # ask for the next step's gradient norms
        self.diagnostics: dict[str, float] = {}

    def _projector(self, terms: Sequence[Term]) -> nn.ModuleDict:
        """Adapters phi (1x1, student to teacher width, one per tap or per term) and the terms' own modules."""
        widths = {tap: (self._student_levels[tap].channels, self._teacher_levels[tap].channels)
                  for tap in self._student_levels}  # fmt: skip
        adapters = {
            _adapter_key(term, tap): nn.Conv2d(*widths[tap], kernel_size=1)
            for term in terms
            for tap in self._taps[term.name]
        }
        modules = {
            term.name: build(term, {tap[1]: widths[tap][1] for tap in self._taps[term.name]}) for term in terms
        }
        self._adapter_of = {term.name: {tap: _adapter_key(term, tap) for tap in self._taps[term.name]} for term in terms}
        return nn.ModuleDict({"adapters": nn.ModuleDict(adapters), "terms": nn.ModuleDict(modules)})

    # -- what Ultralytics' trainer calls

    def loss(self, batch: Mapping[str, Any], preds: Any = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the parts to sum and backpropagate, and the items to log (terms unweighted, per-image means).

        Args:
            batch: `img` (B, 3, H, W) in [0, 1], `bboxes` (N, 4) normalised xywh, `batch_idx` (N,), `cls` (N, 1).
            preds: the student's predictions, given in validation only.
        """
        if not self.training:
            task, items = self.student_model.loss(batch, preds)
            return task, {**items, **{name: task.new_zeros(()) for name in self.weights}}
        self.steps += 1
        images = batch["img"]
        with torch.no_grad(), _captured(self.teacher_model, self._teacher_levels) as teacher_maps:
            teacher_head = self.teacher_model(images)
        with _captured(self.student_model, self._student_levels) as student_maps:
            predictions = self.student_model(images)
        with self._assignment() as assignment:
            task, items = self.student_model.loss(batch, predictions)
        with torch.autocast(images.device.type, enabled=False):
            shared = self._shared(batch, teacher_head, predictions, assignment)
            outputs = {
                name: self._term(name)(self._context(name, shared, teacher_maps, student_maps)) for name in self.weights
            }
            distillation = sum(self.weights[name] * output.value for name, output in outputs.items())  # Eq. 11
        self._observe(task.sum() / images.shape[0], outputs, objects=len(batch["bboxes"]))
        items = {**items, **{name: output.value.detach() for name, output in outputs.items()}}
        return torch.cat([task, (distillation * images.shape[0]).reshape(1)]), items

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the student; the teacher stays in eval."""
        nn.Module.train(self, mode)
        if self.teacher_model is not None:
            self.teacher_model.eval()
        return self

    def fuse(self, verbose: bool = True, imgsz: int | list[int] = 640) -> DetectionModel:
        """Fuse and give the student."""
        return self.student_model.fuse(verbose=verbose, imgsz=imgsz)

    def __getstate__(self) -> dict[str, Any]:
        """A copy (Ultralytics' EMA) has no teacher."""
        return {**self.__dict__, "teacher_model": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore as any module."""
        nn.Module.__setstate__(self, state)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Move the guest along with the rest."""
        if self.teacher_model is not None:
            self.teacher_model._apply(fn)
        return nn.Module._apply(self, fn, recurse)

    # -- what a term sees

    def _term(self, name: str) -> LossTerm:
        term: LossTerm = self.projector["terms"][name]
        return term

    @contextmanager
    def _assignment(self) -> Iterator[list[tuple[Tensor, ...]]]:
        """Collect the outputs of the student's task-aligned assigner, so that it runs only once."""
        student = self.student_model
        if getattr(student, "criterion", None) is None:
            student.criterion = student.init_criterion()
        criterion = getattr(student.criterion, "one2many", student.criterion)
        found: list[tuple[Tensor, ...]] = []
        handle = criterion.assigner.register_forward_hook(lambda _module, _inputs, output: found.append(output))
        try:
            yield found
        finally:
            handle.remove()

    def _shared(
        self, batch: Mapping[str, Any], teacher: Any, student: Any, assignment: list[tuple[Tensor, ...]]
    ) -> dict[str, Any]:
        """The part of the context that all terms have in common."""
        height, width = batch["img"].shape[2:]
        center, size = batch["bboxes"].float().split(2, dim=1)
        scale = center.new_tensor([width, height, width, height])
        _labels, _boxes, target_scores, foreground, _index = assignment[0]
        return {
            "boxes": torch.cat([center - size / 2, center + size / 2], dim=1) * scale,
            "box_image": batch["batch_idx"].long().view(-1),
            "imgsz": (height, width),
            "teacher_head": self._head(teacher, self.teacher_model),
            "student_head": self._head(student, self.student_model),
            "target_scores": target_scores.float(),
            "foreground": foreground.bool(),
        }

    @staticmethod
    def _head(output: Any, model: DetectionModel) -> Head:
        prediction = branch(output)
        strides = model.stride.to(prediction["scores"].device)
        return Head(scores=prediction["scores"].float(), boxes=decode_boxes(prediction, strides))

    def _context(
        self, name: str, shared: dict[str, Any], teacher: Mapping[Tap, Tensor], student: Mapping[Tap, Tensor]
    ) -> Context:
        """One term's context: its taps, the student's maps aligned by its adapters."""
        adapters = {tap: self.projector["adapters"][key] for tap, key in self._adapter_of[name].items()}
        return Context(
            teacher={tap[1]: teacher[tap].float() for tap in adapters},
            student={tap[1]: adapter(student[tap].float()) for tap, adapter in adapters.items()},
            **shared,
        )

    # -- diagnostics

    def _observe(self, task: Tensor, outputs: Mapping[str, Output], objects: int) -> None:
        """Log shares; probe gradient norms while a term is unproven, when asked to, and at steps 1 and 100."""
        full = self.diagnose or self.steps in _DIAGNOSED_STEPS
        probed = list(outputs) if full else [name for name in outputs if name in self.guard.watching]
        if not probed:
            return
        norms = {name: self._gradient_norm(outputs[name].value) for name in probed}
        self.guard.observe({name: (float(outputs[name].value.detach()), norms[name]) for name in probed}, objects)
        if not full:
            return
        self.diagnose = False
        found = {"task/gradient_norm": self._gradient_norm(task)}
        for name, output in outputs.items():
            found[f"{name}/gradient_norm"] = norms[name] * self.weights[name]
            found |= {f"{name}/{key}": float(value) for key, value in {**output.levels, **output.shares}.items()}
        self.diagnostics = found

    def _gradient_norm(self, value: Tensor) -> float:
        """L2 norm of a value's gradient at the student's parameters."""
        parameters = [p for p in self.student_model.parameters() if p.requires_grad]
        scaled = value * self.gradient_scale
        if not scaled.requires_grad:
            return 0.0
        gradients = torch.autograd.grad(scaled, parameters, retain_graph=True, allow_unused=True)
        squares = [gradient.float().square().sum() for gradient in gradients if gradient is not None]
        return float(torch.stack(squares).sum().sqrt()) / self.gradient_scale if squares else 0.0


@contextmanager
def _captured(model: DetectionModel, levels: Mapping[Tap, Level]) -> Iterator[dict[Tap, Tensor]]:
    """Collect the outputs of some layers while the body runs; nothing stays hooked, nothing stays referenced."""
    maps: dict[Tap, Tensor] = {}

    def keep(tap: Tap) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            maps[tap] = output

        return hook

    handles = [model.model[level.layer].register_forward_hook(keep(tap)) for tap, level in levels.items()]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()


def _taps(term: Term) -> list[Tap]:
    return [] if isinstance(term, Responsive) else [(term.layers, stride) for stride in term.levels]


def _adapter_key(term: Term, tap: Tap) -> str:
    owner = "shared" if isinstance(term, Responsive) or term.adapter == "shared" else term.name
    return f"{owner}-{tap[0]}-{tap[1]}"

