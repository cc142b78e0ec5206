"""A teacher, a student and the loss terms between them, in the shape that Ultralytics' trainer understands.

    L = L_task + factor x sum_i weight_i * L_i                            RDR-KD, Eq. 11; factor 1 unless scheduled

Ultralytics' own `DistillationModel` is the base class because its trainer, EMA and optimiser know it; its one loss
and its hooks are replaced. The teacher is a guest: outside the module tree, so in no optimiser group, no EMA, no
checkpoint. Adapters and procreate modules live under `projector`, train with the student and are never exported.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from rdrkd.boxes import Objects
from rdrkd.diagnostics.probe import Probe
from rdrkd.distillation.adapters import adapter, adapter_key, taps_of, unaligned
from rdrkd.distillation.assignment import Assignment, assignments, check_levels, on_levels
from rdrkd.distillation.calibration import Calibrator
from rdrkd.distillation.crosskd_heads import crosses, crossing_of, mappers
from rdrkd.distillation.enlarged_teacher import Size, enlarge, grid, resample_anchors, resample_head, resample_maps
from rdrkd.distillation.heads import common, head_of
from rdrkd.losses import Branch, Context, Cross, Head, Output, build
from rdrkd.models.frozen import frozen
from rdrkd.models.levels import Level, Tap, forward, levels_of
from rdrkd.spec import Recipe
from rdrkd.ultralytics_adapter import DetectionModel, DistillationModel, branches, copy_attr

Maps = Mapping[Tap, Tensor]
Forward = Callable[..., tuple[Any, dict[int, Tensor]]]


class Taught(NamedTuple):
    """What the teacher predicts for a batch of the student's: heads by branch, mean class logits, anchors by stride."""

    heads: dict[str, Head]
    scores: Tensor
    anchors: dict[int, slice]


class Distiller(DistillationModel):
    """Computes task loss and distillation terms of a batch; called as a model it is the student.

    Args:
        teacher: a trained detector; a frozen copy of it teaches (`rdrkd.models.frozen`).
        student: the detector to train, with `args`, `names` and `nc` set.
        recipe: the weighted loss terms and the schedule of their weights.
        forward: runs a network and returns its output and maps; `models.levels.forward`, or its compiled form.

    Attributes:
        weights: term name -> its current weight; calibration changes them.
        factor: the schedule's current factor on all terms.

    Raises:
        PairError: a term compares a level that one of the two does not have, or the teacher is to assign labels on
            a level that it does not have.
    """

    def __init__(
        self, teacher: DetectionModel, student: DetectionModel, recipe: Recipe, forward: Forward = forward
    ) -> None:
        nn.Module.__init__(self)
        self.student_model = student
        self.__dict__["teacher_model"] = frozen(teacher)  # bypasses Module.__setattr__: not registered
        copy_attr(self, student)
        self.weights: dict[str, float] = {term.name: term.weight for term in recipe.terms}
        self.factor = 1.0
        self.adapter_of: dict[str, dict[Tap, str]] = {
            term.name: {tap: adapter_key(term, tap) for tap in taps_of(term)} for term in recipe.terms
        }
        taps = sorted({tap for adapters in self.adapter_of.values() for tap in adapters})
        self.student_levels = levels_of(student, taps, "student")
        self.teacher_levels = levels_of(teacher, taps, "teacher")
        self.calibrator = Calibrator(recipe.calibration, self.weights) if recipe.calibration else None
        self.probe = Probe(self.weights)
        self.crossing = crossing_of(recipe)
        self.teacher_scale = recipe.teacher_scale
        self.assignment = recipe.assignment
        if recipe.assignment == "teacher":
            check_levels(teacher, student)
        self._forward = forward
        with torch.random.fork_rng(devices=[]):  # the baseline of the same seed must draw the same numbers
            self.projector = self._projector(recipe)
        self.projector.to(next(student.parameters()).device)

    def _projector(self, recipe: Recipe) -> nn.ModuleDict:
        """Build the adapters phi (student's to teacher's width; one per tap or term) and the terms' own modules."""
        adapters: dict[str, nn.Module] = {}
        modules: dict[str, nn.Module] = {}
        for term in recipe.terms:
            for tap, key in self.adapter_of[term.name].items():
                widths = self.student_levels[tap].channels, self.teacher_levels[tap].channels
                if key not in adapters:
                    adapters[key] = adapter(term, *widths)
            teacher_channels = {tap[1]: self.teacher_levels[tap].channels for tap in self.adapter_of[term.name]}
            modules[term.name] = build(term, teacher_channels)
        if self.crossing is not None:
            adapters |= mappers(self.crossing, self.teacher_model, self.student_model)
        return nn.ModuleDict({"adapters": nn.ModuleDict(adapters), "terms": nn.ModuleDict(modules)})

    # -- called by Ultralytics' trainer

    def loss(self, batch: Mapping[str, Any], preds: Any = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the parts to sum and backpropagate, and the items to log (terms unweighted, per-image means).

        Args:
            batch: `img` (B, 3, H, W) in [0, 1], `bboxes` (N, 4) normalised xywh, `batch_idx` (N,), `cls` (N, 1).
            preds: the student's predictions, given in validation only.
        """
        if not self.training:
            task, items = self.student_model.loss(batch, preds)
            return task, {**items, **{name: task.new_zeros(()) for name in self.weights}}
        images = batch["img"]
        with torch.no_grad():
            seen = enlarge(images, self.teacher_scale)
            teacher, teacher_maps = self._run(self.teacher_model, seen, self.teacher_levels, decode=False)
            if seen is not images:
                teacher_maps = resample_maps(teacher_maps, _size(images))
        predictions, student_maps = self._run(self.student_model, images, self.student_levels)
        taught = self._taught(teacher, predictions, images, seen)
        with assignments(self.student_model, self._assigning(taught)) as assigned:
            task, items = self.student_model.loss(batch, predictions)
        aligned, crossed = self._aligned(student_maps), self._crossed(teacher, predictions)
        precision = _precision(images.device.type)
        with torch.autocast(images.device.type, enabled=False):
            shared = {**self._shared(batch, taught, predictions, assigned, crossed), "precision": precision}
            outputs = {name: self._term(name, shared, teacher_maps, student_maps, aligned) for name in self.weights}
            self._look(task.sum() / len(images), outputs, len(batch["bboxes"]))
            weights = self.applied
            if self.probe.full:
                self.probe.weigh(self.weights, self.factor)
                self.probe.look({"teacher": teacher_maps, "student": student_maps}, shared["branches"][0].foreground)
            # Eq. 11
            weighted = [weights[name] * self._restrained(name, output.value) for name, output in outputs.items()]
            distillation = torch.stack(weighted).sum()
        items = {**items, **{name: output.value.detach() for name, output in outputs.items()}}
        return torch.cat([task, (distillation * len(images)).reshape(1)]), items

    @property
    def applied(self) -> dict[str, float]:
        """Term name -> current factor of its loss: its weight times the schedule's factor."""
        return {name: weight * self.factor for name, weight in self.weights.items()}

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the student; the teacher stays in eval."""
        nn.Module.train(self, mode)
        if self.teacher_model is not None:
            self.teacher_model.eval()
        return self

    def fuse(self, verbose: bool = True, imgsz: int | list[int] = 640) -> DetectionModel:
        """Fuse and return the student."""
        return self.student_model.fuse(verbose=verbose, imgsz=imgsz)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the teacher and compiled parts, as Ultralytics' EMA needs."""
        return {**self.__dict__, "teacher_model": None, "_forward": forward}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state like any module."""
        nn.Module.__setstate__(self, state)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Apply a conversion, such as to another device, to the teacher as well."""
        if self.teacher_model is not None:
            self.teacher_model._apply(fn)
        return cast(Self, nn.Module._apply(self, fn, recurse))

    # -- one step

    def _run(
        self, model: DetectionModel, images: Tensor, levels: Mapping[Tap, Level], decode: bool = True
    ) -> tuple[Any, Maps]:
        """Return a model's output and its maps by tap."""
        layers = tuple(sorted({level.layer for level in levels.values()}))
        output, maps = self._forward(model, images, layers, self.crossing and self.crossing.split, decode)
        return output, {tap: maps[level.layer] for tap, level in levels.items()}

    def _look(self, task: Tensor, outputs: Mapping[str, Output], objects: int) -> None:
        """Measure the step if due, guard against inert terms, and calibrate the weights."""
        due = self.calibrator is not None and self.calibrator.due()
        norms = self.probe.observe(task, outputs, self.student_model, objects, measure=due)
        if self.calibrator is not None and norms is not None:
            values = {name: float(output.value.detach()) for name, output in outputs.items()}
            self.weights = self.calibrator.observe(self.weights, norms, objects, values)

    def _restrained(self, name: str, value: Tensor) -> Tensor:
        """Bound a term's value between two measurements of its running weight."""
        if self.calibrator is None or not self.calibrator.running or name not in self.calibrator.terms:
            return value
        return value * self.calibrator.restraint(name, value)

    def _taught(self, teacher: Any, student: Any, images: Tensor, seen: Tensor) -> Taught:
        """Return what the teacher predicts for the student's images; `seen` is the batch as the teacher got it."""
        predicted = branches(teacher)
        heads = {name: head_of(predicted[name], self.teacher_model) for name in common(predicted, branches(student))}
        scores = torch.stack([each["scores"].float() for each in predicted.values()]).mean(0)
        strides = [int(stride) for stride in self.teacher_model.stride]
        sizes = [_size(x) for x in predicted["one2many"]["feats"]]
        if seen is not images:
            grids = [grid(_size(images), stride) for stride in strides]
            heads = {name: resample_head(h, sizes, grids, _size(images), _size(seen)) for name, h in heads.items()}
            scores, sizes = resample_anchors(scores, sizes, grids), grids
        return Taught(heads, scores, _anchors(strides, sizes))

    def _assigning(self, taught: Taught) -> dict[str, Head]:
        """Return the teacher's predictions that assign the labels, by branch; none while the schedule is at 0."""
        if self.assignment == "student" or self.factor == 0:
            return {}
        strides = [int(stride) for stride in self.student_model.stride]
        return {name: on_levels(head, taught.anchors, strides) for name, head in taught.heads.items()}

    def _shared(
        self,
        batch: Mapping[str, Any],
        taught: Taught,
        student: Any,
        assigned: Mapping[str, Assignment],
        crossed: Mapping[str, Cross],
    ) -> dict[str, Any]:
        """Return the part of the context that all terms share."""
        height, width = images = _size(batch["img"])
        center, size = batch["bboxes"].float().split(2, dim=1)
        boxes = torch.cat([center - size / 2, center + size / 2], dim=1)
        boxes = boxes * center.new_tensor([width, height, width, height])
        box_image = batch["batch_idx"].long().view(-1)
        predicted, gains = branches(student), self._gains(list(taught.heads))
        return {
            "boxes": boxes,
            "box_image": box_image,
            "imgsz": images,
            "objects": Objects(boxes, box_image, images),
            "branches": tuple(
                Branch(
                    head,
                    head_of(predicted[name], self.student_model),
                    *assigned[name],
                    gain=gains[name],
                    cross=crossed.get(name),
                )
                for name, head in taught.heads.items()
            ),
            "teacher_scores": taught.scores,
            "anchors": taught.anchors,
        }

    def _gains(self, names: list[str]) -> dict[str, float]:
        """Return each branch's share of the task loss; an end-to-end criterion shifts from one-to-many to one-to-one.

        A branch keeps its share even if the teacher lacks the other one: only the one-to-many branch trains the network
        before the head, so terms with constant weight there would outgrow its fading task loss eightfold.
        """
        criterion = self.student_model.criterion
        if not hasattr(criterion, "o2m"):
            return dict.fromkeys(names, 1.0)
        total = criterion.o2m + criterion.o2o
        gains = {"one2many": criterion.o2m / total, "one2one": criterion.o2o / total}
        return {name: gains[name] for name in names}

    def _aligned(self, student: Maps) -> dict[str, Tensor]:
        """Map the student's maps to the teacher's width, running each adapter once."""
        of_key = {key: tap for adapters in self.adapter_of.values() for tap, key in adapters.items()}
        return {key: self._modules_of("adapters")[key](student[tap]) for key, tap in of_key.items()}

    def _crossed(self, teacher: Any, student: Any) -> dict[str, Cross]:
        """Return the inputs of the cross-head predictions by branch, if a term uses them."""
        if self.crossing is None:
            return {}
        return crosses(self.crossing, self.teacher_model, teacher, student, self._modules_of("adapters"))

    def _term(
        self, name: str, shared: dict[str, Any], teacher: Maps, student: Maps, aligned: Mapping[str, Tensor]
    ) -> Output:
        """Compute one term on its taps."""
        keys = self.adapter_of[name]
        adapters = self._modules_of("adapters")
        context = Context(
            teacher={tap[1]: teacher[tap] for tap in keys},
            student={tap[1]: aligned[key] for tap, key in keys.items()},
            unaligned={tap[1]: found for tap, key in keys.items() if (found := unaligned(adapters[key], student[tap]))},
            **shared,
        )
        return cast(Output, self._modules_of("terms")[name](context))

    def _modules_of(self, group: str) -> nn.ModuleDict:
        return cast(nn.ModuleDict, self.projector[group])


def _anchors(strides: Sequence[int], sizes: Sequence[Size]) -> dict[int, slice]:
    """Return the slice of each level's anchors among all anchors, by stride, given the sizes of the levels.

    >>> _anchors([16, 32], [(4, 4), (2, 2)])
    {16: slice(0, 16, None), 32: slice(16, 20, None)}
    """
    ends = list(accumulate((height * width for height, width in sizes), initial=0))
    return {stride: slice(*ends[i : i + 2]) for i, stride in enumerate(strides)}


def _size(x: Tensor) -> Size:
    height, width = x.shape[2:]
    return height, width


def _precision(device: str) -> torch.dtype | None:
    """Return the active type of mixed precision."""
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
