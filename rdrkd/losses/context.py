"""What every loss term is given, and what it gives back."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from rdrkd.errors import PairError


@dataclass(frozen=True)
class Head:
    """What a Detect head predicts for the A anchors of B images.

    Attributes:
        scores: (B, nc, A) class logits.
        boxes: (B, A, 4) decoded boxes, xyxy px of the network input.
    """

    scores: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class Context:
    """One batch, seen by teacher and student.

    Attributes:
        teacher: stride -> (B, C_t, H, W) teacher map F^t.
        student: stride -> (B, C_t, H, W) student map F^s, already aligned by its adapter.
        boxes: (N, 4) ground truth, xyxy px of the network input.
        box_image: (N,) index of the image each box lies in, long.
        imgsz: (height, width) of the network input, px.
        teacher_head, student_head: what the two heads predict.
        target_scores: (B, A, nc) the scores that the student's assigner set as class targets.
        foreground: (B, A) bool, the anchors it made responsible for an object.
    """

    teacher: dict[int, Tensor]
    student: dict[int, Tensor]
    boxes: Tensor
    box_image: Tensor
    imgsz: tuple[int, int]
    teacher_head: Head
    student_head: Head
    target_scores: Tensor
    foreground: Tensor

    def at_boundary(self) -> "Context":
        """Give the same batch as the losses may see it: at least fp32, and nothing of the teacher in the graph.

        fp16 does not hold the sums: that of the squares over one stride-4 map is about 1e6, its largest number 65504.
        """
        return replace(
            self,
            teacher={stride: _float32(x.detach()) for stride, x in self.teacher.items()},
            student={stride: _float32(x) for stride, x in self.student.items()},
            boxes=_float32(self.boxes.detach()),
            teacher_head=Head(_float32(self.teacher_head.scores.detach()), _float32(self.teacher_head.boxes.detach())),
            student_head=Head(_float32(self.student_head.scores), _float32(self.student_head.boxes)),
            target_scores=_float32(self.target_scores.detach()),
        )

    def maps(self, stride: int) -> tuple[Tensor, Tensor]:
        """Give the teacher's and the student's map of one stride.

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

    def heads(self) -> tuple[Head, Head]:
        """Give the teacher's and the student's head output.

        Raises:
            PairError: they differ in the number of classes or anchors.
        """
        _same_shape("class logits", self.teacher_head.scores, self.student_head.scores)
        _same_shape("boxes", self.teacher_head.boxes, self.student_head.boxes)
        return self.teacher_head, self.student_head


@dataclass(frozen=True)
class Output:
    """What a term gives back.

    Attributes:
        value: scalar, the UNWEIGHTED per-image mean, with its graph.
        levels: detached parts that add up to `value`: `P2`..`P5`, or `class` and `box`.
        shares: detached shares in 0..1 worth watching, such as that of the hidden cells.
    """

    value: Tensor
    levels: dict[str, Tensor]
    shares: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def over_levels(cls, levels: dict[str, Tensor], shares: dict[str, Tensor]) -> "Output":
        """Sum a term's losses over its levels."""
        return cls(
            torch.stack(list(levels.values())).sum(), {name: loss.detach() for name, loss in levels.items()}, shares
        )


def level_name(stride: int) -> str:
    """Name a level by its stride.

    >>> level_name(4), level_name(32)
    ('P2', 'P5')
    """
    return f"P{stride.bit_length() - 1}"


def _same_shape(what: str, teacher: Tensor, student: Tensor) -> None:
    if teacher.shape != student.shape:  # broadcasting would hide it
        raise PairError(
            f"expected {what} of one shape, got {tuple(teacher.shape)} from the teacher "
            f"and {tuple(student.shape)} from the student"
        )


def _float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
