"""Warnings that a run has taught nothing, or cannot; each gives advice, and the run's verdict begins with them.

The functions take only numbers, so that commands and service can also use them before a run.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from rdrkd.events import Warn

NOTHING = 1.0  # AP, percent: below it a network has learnt next to nothing
UNUSABLE = 5.0  # AP, percent: below it a teacher has nothing to teach
LEAST_STEPS = 100  # of the optimizer: with fewer, random weights learn next to nothing (AP 0.1 % after 114)
SLOW = 2.0  # times fp32: from there on mixed precision is worth a warning
TOO_SMALL, EASY = 3, 8  # px, side of an object at the network's input: hardly learnable; easily visible
_LARGEST = 8192  # px, largest network input worth suggesting
_STEP = 32  # px, granularity of the network's input

CODES = (  # the gravest first
    "learnt_nothing", "teacher_unusable", "teacher_behind", "objects_too_small", "warmup_too_long", "batch_too_large",
    "too_few_steps", "teacher_is_student", "baseline_failed", "precision_slow",
)  # fmt: skip


def doubts_of(warnings: Iterable[tuple[str, str]]) -> list[str]:
    """Return those of the warnings (code, message) that are of this module as sentences, the gravest first.

    >>> doubts_of([("batch_too_large", "a batch is too large"), ("dataset", "odd"), ("learnt_nothing", "no AP")])
    ['No AP.', 'A batch is too large.']
    """
    known = [(CODES.index(code), message) for code, message in warnings if code in CODES]
    return [f"{message[:1].upper()}{message[1:]}." for _, message in sorted(dict.fromkeys(known))]


def verdict_of(result: Mapping[str, Any]) -> list[str]:
    """Return the sentences on a training's worth: the warnings of its result, then what it says about the gain.

    >>> verdict_of({"warnings": [{"code": "learnt_nothing", "message": "no AP"}], "comparison": {"summary": "Worse."}})
    ['No AP.', 'Worse.']
    """
    summary = (result.get("comparison") or {}).get("summary")
    doubts = doubts_of((warning["code"], warning["message"]) for warning in result.get("warnings") or ())
    return [*doubts, *([summary] if summary else [])]


def of_settings(epochs: int, warmup_epochs: float, batch: int, images: int) -> Iterator[Warn]:
    """Yield warnings about a training's settings.

    Args:
        epochs: passes over the training images.
        warmup_epochs: epochs of the learning rate's warm-up.
        batch: images per step.
        images: number of training images.
    """
    if warmup_epochs >= epochs:
        yield Warn(
            code="warmup_too_long",
            message=f"the learning rate warms up for {warmup_epochs:g} of {epochs} epochs and never reaches its value: "
            f"set train.warmup_epochs to {max(epochs / 10, 0.1):.1g}, or train for more than "
            f"{10 * warmup_epochs:g} epochs",
        )
    if batch > images:
        yield Warn(
            code="batch_too_large",
            message=f"a batch of {batch} images is larger than the {images} training images, so an epoch is a single "
            f"step: set train.batch to {max(1, images // 8)}, and train.nbs to the same",
        )


def of_steps(epochs: int, batch: int, nbs: int, images: int) -> Iterator[Warn]:
    """Yield a warning if random weights cannot learn anything in so few steps of the optimizer.

    Args:
        epochs: passes over the training images.
        batch: images per forward pass.
        nbs: images over which gradients are accumulated.
        images: number of training images.
    """
    steps = steps_of(images, epochs, batch, nbs)
    if not images or steps >= LEAST_STEPS:
        return
    smaller = steps_of(images, epochs, batch, batch)
    instead = f"more epochs, or set train.nbs to {batch} ({smaller} steps)" if smaller > steps else "more epochs"
    yield Warn(
        code="too_few_steps",
        message=f"the optimizer makes only {steps} {'step' if steps == 1 else 'steps'} in all ({images} images, batch "
        f"{batch}, nbs {nbs}): random weights learn next to nothing in fewer than {LEAST_STEPS}; choose {instead}, "
        "or start from weights",
    )


def steps_of(images: int, epochs: int, batch: int, nbs: int) -> int:
    """Return about how many steps the optimizer makes: gradients are accumulated until `nbs` images were seen.

    >>> steps_of(48, epochs=25, batch=8, nbs=64), steps_of(48, epochs=25, batch=8, nbs=8)
    (19, 150)
    """
    return round(epochs * math.ceil(images / batch) / max(1, round(nbs / batch)))


def of_inputs(same: bool) -> Iterator[Warn]:
    """Yield a warning if teacher and student start from the `same` weights."""
    if same:
        yield Warn(
            code="teacher_is_student",
            message="the student starts from the teacher's own weights, so it is no smaller than its teacher and "
            "can learn little from it: choose a smaller architecture, or other start weights",
        )


def of_precision(amp: str, slowdown: float) -> Iterator[Warn]:
    """Yield a warning if the device computes the type of mixed precision in software.

    Args:
        amp: the type's name, such as `bf16`.
        slowdown: time of a convolution relative to fp32.
    """
    if slowdown > SLOW:
        yield Warn(
            code="precision_slow",
            message=f"a convolution in {amp} takes {slowdown:.0f} times as long as in fp32 on this device, which "
            "has no instructions for it: set train.amp to false",
        )


def of_sizes(sides: Sequence[float], imgsz: int) -> Iterator[Warn]:
    """Yield a warning if the median object is too small to be seen.

    Args:
        sides: sides of the training objects, as fractions of the longer side of their image.
        imgsz: side of the network input, px.
    """
    if sides and (usual := median(sides)) * imgsz < TOO_SMALL:
        wanted = input_for(usual)
        larger = f"set train.imgsz to {wanted}, at which it has {EASY} px, or " if wanted is not None else ""
        yield Warn(
            code="objects_too_small",
            message=f"the median object has {usual * imgsz:.1f} px at imgsz {imgsz}, which no detector sees: "
            f"{larger}cut the images into tiles",
        )


def input_for(side: float) -> int | None:
    """Return the network input size, px, at which an object has `EASY` px; None if it is too large to try.

    Args:
        side: side of the object, as a fraction of the longer side of its image.

    >>> input_for(0.004), input_for(1e-300)
    (2016, None)
    """
    wanted = math.ceil(EASY / max(side, 1e-6) / _STEP) * _STEP
    return wanted if wanted <= _LARGEST else None


def of_teacher(teacher: float | None) -> Iterator[Warn]:
    """Yield a warning if the teacher has nothing to teach, given its AP, percent."""
    if teacher is not None and teacher < UNUSABLE:
        yield Warn(
            code="teacher_unusable",
            message=f"the teacher has an AP of {teacher:.2f} % on these images, so it has nothing to teach: check that "
            "it was trained for these classes and at this train.imgsz, or train a better one first",
        )


def of_results(student: float | None, alone: float | None, teacher: float | None) -> Iterator[Warn]:
    """Yield warnings about the networks' AP after a distillation.

    Args:
        student: AP of the distilled student, percent; None if there is no such network.
        alone: AP of the same student trained without the teacher, percent.
        teacher: AP of the teacher, percent.
    """
    if student is not None and student < NOTHING:
        yield Warn(
            code="learnt_nothing",
            message=f"the student has an AP of {student:.2f} %, so it has learnt next to nothing: train for more "
            "epochs, from trained start weights if it has none, at a larger train.imgsz, or at another train.lr0, and "
            "look at the images and labels (`rdrkd datasets check`)",
        )
    if teacher is not None and alone is not None and teacher < alone:
        yield Warn(
            code="teacher_behind",
            message=f"the teacher has an AP of {teacher:.1f} %, less than the student alone ({alone:.1f} %): use a "
            "larger teacher, or train it longer",
        )
