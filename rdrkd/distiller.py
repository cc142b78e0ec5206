"""A teacher, a student and the loss terms between them, in the shape that Ultralytics' trainer understands.

    L = L_task + sum_i weight_i * L_i                                     RDR-KD, Eq. 11

Ultralytics' own `DistillationModel` is the base class because its trainer, EMA and optimiser know it; its one loss
and its hooks are replaced. The teacher is a guest: outside the module tree, so in no optimiser group, no EMA, no
checkpoint. Adapters and procreate modules live under `projector`, train with the student and are never exported.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from rdrkd.losses import Context, Head, build
from rdrkd.models.levels import Tap, captured, levels_of
from rdrkd.probe import Probe
from rdrkd.spec import Responsive, Term
from rdrkd.ultralytics_adapter import DetectionModel, DistillationModel, branch, copy_attr, decode_boxes


class Distiller(DistillationModel):
    """Computes task loss and distillation terms of a batch; called as a model it is the student.

    Args:
        teacher: a trained detector; it is frozen.
        student: the detector to train, with `args`, `names` and `nc` set.
        terms: the weighted loss terms.

    Raises:
        PairError: a term compares a level that one of the two does not have.
    """

    def __init__(self, teacher: DetectionModel, student: DetectionModel, terms: Sequence[Term]) -> None:
        nn.Module.__init__(self)
        self.student_model = student
        self.__dict__["teacher_model"] = teacher.eval().requires_grad_(False)  # past Module.__setattr__: unregistered
        copy_attr(self, student)
        self.weights: dict[str, float] = {term.name: term.weight for term in terms}
        self.adapter_of: dict[str, dict[Tap, str]] = {
            term.name: {tap: _adapter_key(term, tap) for tap in _taps(term)} for term in terms
        }
        taps = sorted({tap for adapters in self.adapter_of.values() for tap in adapters})
        self.student_levels = levels_of(student, taps, "student")
        self.teacher_levels = levels_of(teacher, taps, "teacher")
        self.probe = Probe(self.weights)
        with torch.random.fork_rng(devices=[]):  # the baseline of the same seed must draw the same numbers
            self.projector = self._projector(terms)
        self.projector.to(next(student.parameters()).device)

    def _projector(self, terms: Sequence[Term]) -> nn.ModuleDict:
        """Adapters phi (1x1, student's to teacher's width; one per tap, or per term) and the terms' own modules."""
        adapters = {
            key: nn.Conv2d(self.student_levels[tap].channels, self.teacher_levels[tap].channels, kernel_size=1)
            for of_term in self.adapter_of.values()
            for tap, key in of_term.items()
        }
        modules: dict[str, nn.Module] = {}
        for term in terms:
            widths = {tap[1]: self.teacher_levels[tap].channels for tap in self.adapter_of[term.name]}
            modules[term.name] = build(term, widths)
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
        images = batch["img"]
        with torch.no_grad(), captured(self.teacher_model, self.teacher_levels) as teacher_maps:
            teacher = self.teacher_model(images)
        with captured(self.student_model, self.student_levels) as student_maps:
            predictions = self.student_model(images)
        with self._assignment() as assignment:
            task, items = self.student_model.loss(batch, predictions)
        with torch.autocast(images.device.type, enabled=False):
            shared = self._shared(batch, teacher, predictions, assignment)
            outputs = {
                name: self._modules_of("terms")[name](self._context(name, shared, teacher_maps, student_maps))
                for name in self.weights
            }
            distillation = sum(self.weights[name] * output.value for name, output in outputs.items())  # Eq. 11
        self.probe.observe(task.sum() / len(images), outputs, self.student_model, objects=len(batch["bboxes"]))
        items = {**items, **{name: output.value.detach() for name, output in outputs.items()}}
        return torch.cat([task, (distillation * len(images)).reshape(1)]), items

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
        """A copy (Ultralytics' EMA is one) has no teacher."""
        return {**self.__dict__, "teacher_model": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore as any module."""
        nn.Module.__setstate__(self, state)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Move the guest along with the rest."""
        if self.teacher_model is not None:
            self.teacher_model._apply(fn)
        return cast(Self, nn.Module._apply(self, fn, recurse))

    # -- what a term sees

    def _modules_of(self, group: str) -> nn.ModuleDict:
        return cast(nn.ModuleDict, self.projector[group])

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
            "teacher_head": _head(teacher, self.teacher_model),
            "student_head": _head(student, self.student_model),
            "target_scores": target_scores.float(),
            "foreground": foreground.bool(),
        }

    def _context(
        self, name: str, shared: dict[str, Any], teacher: Mapping[Tap, Tensor], student: Mapping[Tap, Tensor]
    ) -> Context:
        """One term's context: its taps, the student's maps aligned by its adapters."""
        adapters = {tap: self._modules_of("adapters")[key] for tap, key in self.adapter_of[name].items()}
        return Context(
            teacher={tap[1]: teacher[tap].float() for tap in adapters},
            student={tap[1]: adapter(student[tap].float()) for tap, adapter in adapters.items()},
            **shared,
        )


def _head(output: Any, model: DetectionModel) -> Head:
    prediction = branch(output)
    strides = model.stride.to(prediction["scores"].device)
    return Head(scores=prediction["scores"].float(), boxes=decode_boxes(prediction, strides))


def _taps(term: Term) -> list[Tap]:
    return [] if isinstance(term, Responsive) else [(term.layers, stride) for stride in term.levels]


def _adapter_key(term: Term, tap: Tap) -> str:
    owner = "shared" if isinstance(term, Responsive) or term.adapter == "shared" else term.name
    return f"{owner}-{tap[0]}-{tap[1]}"
