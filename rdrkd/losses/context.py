"""The input and output of every loss term."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from rdrkd.boxes import Objects
from rdrkd.errors import PairError


@dataclass(frozen=True)
class Head:
    """The predictions of a branch of a Detect head for the A anchors of B images.

    Attributes:
        scores: (B, nc, A) class logits.
        boxes: (B, A, 4) decoded boxes, xyxy px of the network input.
        sides: (B, A, 4, R) logits over the R distances of each side (left, top, right, bottom), or None for a head
            that predicts the distances themselves (reg_max 1).
    """

    scores: Tensor
    boxes: Tensor
    sides: Tensor | None = None

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Head":
        """Return the head with every tensor changed."""
        return Head(change(self.scores), change(self.boxes), None if self.sides is None else change(self.sides))


@dataclass(frozen=True)
class Hidden:
    """The maps inside a branch of a head, between a convolution and its activation.

    Attributes:
        boxes, scores: stride -> (B, C, H, W) map of the part that predicts boxes, and of the part for the classes.
    """

    boxes: dict[int, Tensor]
    scores: dict[int, Tensor]

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Hidden":
        """Return the maps, each changed."""
        return Hidden(*({stride: change(x) for stride, x in maps.items()} for maps in (self.boxes, self.scores)))

    def joined(self, other: "Hidden", join: Callable[[Tensor, Tensor], Tensor]) -> "Hidden":
        """Return the maps, each joined with the other's.

        Raises:
            PairError: a map is missing, or two differ in shape.
        """
        pairs = (self.boxes, other.boxes), (self.scores, other.scores)
        for ours, others in pairs:
            if ours.keys() != others.keys():
                raise PairError(f"expected head maps of the strides {sorted(ours)}, got {sorted(others)}")
            for stride, x in ours.items():
                _same_shape(f"head maps of stride {stride}", x, others[stride])
        return Hidden(*({stride: join(x, others[stride]) for stride, x in ours.items()} for ours, others in pairs))


@dataclass(frozen=True)
class Cross:
    """The inputs of the cross-head predictions: maps inside the heads, and the rest of the teacher's head.

    Attributes:
        teacher, student: the two heads' maps; the student's already mapped to the teacher's width.
        rest: returns the predictions of the rest of the teacher's head on such maps, in fp32. It is frozen, but
            gradients flow to the maps; its layers run in the active precision.
    """

    teacher: Hidden
    student: Hidden
    rest: Callable[[Hidden], Head]


@dataclass(frozen=True)
class Branch:
    """One branch of the heads: the only one, or for two end-to-end heads the one-to-many or the one-to-one branch.

    Attributes:
        teacher, student: the two heads' predictions.
        labels: (B, A) class of the object assigned to each anchor, long.
        target_scores: (B, A, nc) class targets of the student's assigner.
        foreground: (B, A) bool, anchors that the assigner made responsible for an object.
        gain: the branch's share of the task loss; the gains of a batch sum to 1, or to less if the teacher lacks a
            branch of the student.
        cross: the maps inside the heads, if a term uses them.
    """

    teacher: Head
    student: Head
    labels: Tensor
    target_scores: Tensor
    foreground: Tensor
    gain: float = 1.0
    cross: Cross | None = None

    def heads(self) -> tuple[Head, Head]:
        """Return the teacher's and the student's head.

        Raises:
            PairError: they differ in the number of classes or anchors.
        """
        _same_shape("class logits", self.teacher.scores, self.student.scores)
        _same_shape("boxes", self.teacher.boxes, self.student.boxes)
        return self.teacher, self.student

    def crossing(self) -> Cross:
        """Return the inputs of the cross-head predictions.

        Raises:
            PairError: the heads were not run in halves.
        """
        if self.cross is None:
            raise PairError("expected the maps inside the heads, got heads that were run as a whole")
        return self.cross

    def sides(self) -> tuple[Tensor, Tensor]:
        """Return the teacher's and the student's side logits (B, A, 4, R).

        Raises:
            PairError: one has none, or they differ in anchors or distances.
        """
        teacher, student = self.teacher.sides, self.student.sides
        if teacher is None or student is None:
            raise PairError("expected heads that predict distributions over distances, got one with reg_max 1")
        _same_shape("side logits", teacher, student)
        return teacher, student


@dataclass(frozen=True)
class Unaligned:
    """A student map before its adapter, if that is a 1x1 convolution: A x + c in each cell.

    Attributes:
        map: (B, C_s, H, W), in the active precision.
        weight: A, (C_t, C_s).
        bias: c, (C_t,), or None.
    """

    map: Tensor
    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class Context:
    """One batch, as processed by teacher and student.

    Attributes:
        teacher: stride -> (B, C_t, H, W) teacher map F^t.
        student: stride -> (B, C_t, H, W) student map F^s, already aligned by its adapter.
        boxes: (N, 4) ground truth, xyxy px of the network input.
        box_image: (N,) index of the image each box lies in, long.
        imgsz: (height, width) of the network input, px.
        branches: the branches that both heads have; for an end-to-end student and a dense teacher, the one-to-many
            branch.
        teacher_scores: (B, nc, A) the teacher's class logits, the mean over its branches.
        anchors: stride -> slice of that level's anchors among the A.
        precision: the active type of mixed precision; None: there is none.
        unaligned: stride -> the student map before its adapter, if the adapter is a 1x1 convolution.
        objects: the boxes rasterised on the levels, shared by all terms; None: each term rasterises them.
    """

    teacher: dict[int, Tensor]
    student: dict[int, Tensor]
    boxes: Tensor
    box_image: Tensor
    imgsz: tuple[int, int]
    branches: tuple[Branch, ...]
    teacher_scores: Tensor
    anchors: dict[int, slice]
    precision: torch.dtype | None = None
    unaligned: dict[int, Unaligned] = field(default_factory=dict)
    objects: Objects | None = None

    def located(self) -> Objects:
        """Return the boxes rasterised on the levels."""
        return self.objects or Objects(self.boxes, self.box_image, self.imgsz)

    def autocast(self) -> torch.autocast:
        """Return mixed precision for a term's modules (procreate modules); loss arithmetic stays outside it."""
        enabled = self.precision is not None
        return torch.autocast(self.boxes.device.type, dtype=self.precision, enabled=enabled)

    def at_boundary(self) -> "Context":
        """Return the batch for the losses: at least fp32, and with the teacher detached.

        The sums overflow fp16: the sum of squares over one stride-4 map is about 1e6, fp16's largest number 65504.
        """
        branches = (
            replace(
                branch,
                teacher=branch.teacher.mapped(lambda x: _float32(x.detach())),
                student=branch.student.mapped(_float32),
                target_scores=_float32(branch.target_scores.detach()),
                cross=branch.cross and _cross_at_boundary(branch.cross),
            )
            for branch in self.branches
        )
        return replace(
            self,
            teacher={stride: _float32(x.detach()) for stride, x in self.teacher.items()},
            student={stride: _float32(x) for stride, x in self.student.items()},
            boxes=_float32(self.boxes.detach()),
            branches=tuple(branches),
            teacher_scores=_float32(self.teacher_scores.detach()),
        )

    def maps(self, stride: int) -> tuple[Tensor, Tensor]:
        """Return the teacher's and the student's map of one stride.

        Raises:
            PairError: a map is missing, or their shapes differ.
        """
        pair = self.teacher.get(stride), self.student.get(stride)
        if pair[0] is None or pair[1] is None:
            raise PairError(
                f"expected maps of stride {stride}, got the teacher's of {sorted(self.teacher)} "
                f"and the student's of {sorted(self.student)}"
            )
        _same_shape(f"maps of stride {stride}", pair[0], pair[1])
        return pair[0], pair[1]


@dataclass(frozen=True)
class Output:
    """The output of a term.

    Attributes:
        value: scalar, the UNWEIGHTED per-image mean, with its graph.
        parts: the summands of `value`, each with its graph: `P2`..`P5`, or `class` and `box`.
        shares: detached diagnostic shares in 0..1, such as that of the hidden cells.
    """

    value: Tensor
    parts: dict[str, Tensor]
    shares: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: dict[str, Tensor], shares: dict[str, Tensor] | None = None) -> "Output":
        """Sum a term's parts, such as its losses by level."""
        return cls(torch.stack(list(parts.values())).sum(), parts, shares or {})

    @classmethod
    def over_branches(cls, context: Context, parts_of: Callable[[Branch], dict[str, Tensor]]) -> "Output":
        """Sum a term's parts over the heads' branches, weighted by their gains, as in the task loss."""
        total: dict[str, Tensor] = {}
        for branch in context.branches:
            for name, value in parts_of(branch).items():
                total[name] = total[name] + branch.gain * value if name in total else branch.gain * value
        return cls.of(total)


def level_name(stride: int) -> str:
    """Return the name of a level by its stride.

    >>> level_name(4), level_name(32)
    ('P2', 'P5')
    """
    return f"P{stride.bit_length() - 1}"


def _same_shape(what: str, teacher: Tensor, student: Tensor) -> None:
    if teacher.shape != student.shape:  # broadcasting would hide the difference
        raise PairError(
            f"expected {what} of one shape, got {tuple(teacher.shape)} from the teacher "
            f"and {tuple(student.shape)} from the student"
        )


def _cross_at_boundary(cross: Cross) -> Cross:
    return Cross(cross.teacher.mapped(lambda x: _float32(x.detach())), cross.student.mapped(_float32), cross.rest)


def _float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
