"""Settings that `rdrkd distill` and `rdrkd jobs submit` derive from dataset, teacher and device, with their reasons."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from rdrkd.figures import counted
from rdrkd.run_warnings import steps_of

IMGSZ, NBS, PRESET = 640, 64, "rdr-kd"
_STEP = 32  # px; a network's input is a multiple of it
_FEWEST_EPOCHS, _EPOCHS, _MOST_EPOCHS = 50, 100, 300
_IMAGES = 1000  # dataset size for which `_EPOCHS` is usual; epochs scale with the inverse square root of the size
_GIB = 2**30
# Upper estimate of GPU memory for one 640 px image in a step, teacher included, by the letter of the student's size.
# A training that still runs out of memory lowers its batch by itself.
_GIB_OF_AN_IMAGE = {"n": 0.35, "s": 0.55, "m": 0.95, "l": 1.4, "x": 1.9}
_SHARE = 0.6  # of the free memory
_LARGEST_BATCH = 64
# 640 px image passes beyond which the baseline is not trained by default: some hours on a CPU, a night on a GPU.
_MOST_PASSES_CPU, _MOST_PASSES = 100_000, 5_000_000
_TOO_FEW_STEPS = 1000  # random weights learn little in fewer
_FEW_STEPS = 10_000  # Ultralytics' bound for its own `optimizer=auto`


@dataclass(frozen=True)
class Facts:
    """The inputs of the choices; None if unknown.

    Attributes:
        images: number of training images.
        classes: number of classes.
        teacher_imgsz: side of the input that the teacher was trained with, px.
        whose: network that `teacher_imgsz` belongs to: `model`, if one is trained without a teacher.
        student: architecture, whose last letter is its size.
        cores: number of CPU cores that train; None on a GPU.
        gpu_bytes: free memory of the GPU.
    """

    images: int | None = None
    classes: int | None = None
    teacher_imgsz: int | None = None
    whose: str = "teacher"
    student: str | None = None
    cores: int | None = None
    gpu_bytes: int | None = None


class Choice(NamedTuple):
    """One setting: its name, its value, and why."""

    name: str
    value: Any
    why: str


def choose(facts: Facts, given: Mapping[str, Any]) -> list[Choice]:
    """Choose the settings that are not given: `imgsz`, `epochs`, `batch`, and the optimiser with its settings.

    >>> [(choice.name, choice.value) for choice in choose(Facts(images=250, classes=1, cores=2), {"imgsz": 320})]
    [('imgsz', 320), ('epochs', 200), ('batch', 8), ('nbs', 8), ('optimizer', 'AdamW'), ('lr0', 0.002)]
    """
    imgsz = _imgsz(facts, given)
    epochs = _given("epochs", given) or _epochs(facts)
    batch = _given("batch", given) or _batch(facts, imgsz.value)
    nbs = _nbs(facts, epochs.value, batch.value)
    steps = steps_of(facts.images or _IMAGES, epochs.value, batch.value, nbs[0].value if nbs else NBS)
    return [imgsz, epochs, batch, *nbs, *_optimiser(facts, steps), *_warmup(epochs.value)]


def baseline(facts: Facts, given: Mapping[str, Any], epochs: int, imgsz: int) -> Choice:
    """Choose whether the student is also trained alone, which shows whether the teacher helped.

    >>> small, large = Facts(images=500, cores=2), Facts(images=9000, cores=2)
    >>> baseline(small, {}, 140, 320).value, baseline(large, {}, 50, 640).value
    (True, False)
    """
    if given.get("baseline") is not None:
        return Choice("baseline", given["baseline"], f"as --{'' if given['baseline'] else 'no-'}baseline says")
    if given.get("preset") == "none":
        return Choice("baseline", False, "nothing is distilled")
    passes = (facts.images or 0) * epochs * (imgsz / IMGSZ) ** 2
    if passes > (_MOST_PASSES_CPU if facts.cores is not None else _MOST_PASSES):
        return Choice("baseline", False, "a long training; --baseline also trains the student alone, for comparison")
    return Choice("baseline", True, "the student is trained alone, too, to see whether the teacher helped")


def input_side(trained: int) -> int:
    """Return the side of the input for a network that was trained at `trained` px: the next multiple of 32.

    >>> input_side(160), input_side(500)
    (160, 512)
    """
    return max(_STEP, math.ceil(trained / _STEP) * _STEP)


def _given(name: str, given: Mapping[str, Any]) -> Choice | None:
    return None if given.get(name) is None else Choice(name, given[name], f"as --{name} says")


def _imgsz(facts: Facts, given: Mapping[str, Any]) -> Choice:
    trained = facts.teacher_imgsz
    if (chosen := _given("imgsz", given)) is not None:
        if trained is not None and chosen.value < trained and facts.whose == "teacher":
            return chosen._replace(why=f"{chosen.why}; the teacher was trained at {trained} px and detects less here")
        return chosen
    if trained is None:
        return Choice("imgsz", IMGSZ, f"the usual size; the size at which the {facts.whose} was trained is unknown")
    return Choice("imgsz", input_side(trained), f"as the {facts.whose} was trained")


def _epochs(facts: Facts) -> Choice:
    if not facts.images:
        return Choice("epochs", _EPOCHS, "the usual number; the dataset's size is not known here")
    wanted = round(_EPOCHS * math.sqrt(_IMAGES / facts.images) / 10) * 10
    return Choice("epochs", min(max(wanted, _FEWEST_EPOCHS), _MOST_EPOCHS), f"for {facts.images} training images")


def _batch(facts: Facts, imgsz: int) -> Choice:
    if facts.cores is not None:
        wanted, why = 8 if facts.cores <= 4 else 16, f"for a CPU with {facts.cores} cores"
    elif facts.gpu_bytes is not None:
        one = _GIB_OF_AN_IMAGE.get(_letter(facts.student), _GIB_OF_AN_IMAGE["x"]) * (imgsz / IMGSZ) ** 2 * _GIB
        fits = max(1, int(_SHARE * facts.gpu_bytes / one))
        wanted, why = min(_LARGEST_BATCH, 2 ** int(math.log2(fits))), f"for {facts.gpu_bytes / _GIB:.0f} GiB free"
    else:
        wanted, why = 16, "the memory of the GPU is not known here"
    if facts.images and facts.images < wanted:
        return Choice("batch", facts.images, f"all {facts.images} training images")
    return Choice("batch", wanted, why)


def _letter(student: str | None) -> str:
    name = (student or "").removesuffix("-half").removesuffix("-p2")
    return name[-1:]


def _nbs(facts: Facts, epochs: int, batch: int) -> list[Choice]:
    """Let the optimizer step after every batch where accumulating gradients would leave it few steps."""
    if not facts.images or batch >= NBS:
        return []
    usual = steps_of(facts.images, epochs, batch, NBS)
    if usual >= _TOO_FEW_STEPS:
        return []
    steps = steps_of(facts.images, epochs, batch, batch)
    return [
        Choice("nbs", batch, f"the optimizer steps after every {batch} images, {steps} times in all instead of {usual}")
    ]


def _optimiser(facts: Facts, steps: int) -> list[Choice]:
    """Choose AdamW and its rate, by the number of classes, as Ultralytics' `optimizer=auto` does; SGD for long runs."""
    if steps > _FEW_STEPS:
        return [Choice("optimizer", "SGD", f"for {counted(steps, 'step')}")]
    rate = round(0.002 * 5 / (4 + (facts.classes or 1)), 6)
    return [
        Choice("optimizer", "AdamW", f"for {counted(steps, 'step')}: AdamW learns faster than SGD in so few"),
        Choice("lr0", rate, f"AdamW's for {counted(facts.classes or 1, 'class', 'classes')}"),
    ]


def _warmup(epochs: int) -> list[Choice]:
    """Shorten the warm-up of a short training, most of which the usual 3 epochs would take."""
    if epochs >= 30:
        return []
    return [Choice("warmup_epochs", round(epochs / 10, 1), f"a tenth of {counted(epochs, 'epoch')}")]
