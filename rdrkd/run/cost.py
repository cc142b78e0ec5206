"""The cost of distillation in detail (`rdrkd bench --everything`): each term and level, options, memory, an epoch.

A step of RDR-KD with only one of its terms, or with the regenerated term on only one level, still runs the teacher, so
the cost of a part is the difference from a step of the student and the idle teacher. Peak memory is the maximum that
torch allocates in a step beyond what it held before: from the profiler on a CPU, from the allocator's counter on a
GPU. An epoch is training and validation on synthetic scenes, alternately with this library and with plain
Ultralytics at the same settings.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from rdrkd.data.dataset import local_dataset
from rdrkd.data.scenes import write_scenes
from rdrkd.process.devices import devices_of
from rdrkd.reporter import Memory
from rdrkd.spec import PRESETS, TABLE_1, Decoupled, Preset, Recipe, Regenerated, Responsive, Term, TrainSettings
from rdrkd.spec.losses import Stride
from rdrkd.training.overrides import overrides
from rdrkd.training.plan import Plan
from rdrkd.training.precision import precision
from rdrkd.training.trainer import Trainer
from rdrkd.ultralytics_adapter import DetectionTrainer

Step = Callable[[], None]
LEVELS: tuple[Stride, ...] = (4, 8, 16, 32)
MIB = 1 << 20
_EPOCHS = 3  # the first is a warm-up
_SCENES = {"train": 32, "val": 8}


def recipes() -> dict[str, Recipe]:
    """Return the recipes to measure: RDR-KD's terms and levels, its cheaper options, and the other methods."""
    base = PRESETS[Preset.RDR_KD]
    calibration = base.calibration
    assert calibration is not None

    def of(*terms: Term) -> Recipe:
        names = {term.name for term in terms}
        shares = {name: share for name, share in calibration.shares.items() if name in names}
        return Recipe(terms, calibration.model_copy(update={"shares": shares}))

    others = Decoupled(), Responsive()
    without_p2 = LEVELS[1:]
    return {
        **{f"term {term.name}": of(term) for term in base.terms},
        **{f"regenerated P{stride.bit_length() - 1}": of(Regenerated(levels=(stride,))) for stride in LEVELS},
        "option bottleneck": of(Regenerated(generation="bottleneck"), *others),
        "option half": of(Regenerated(generation="half"), *others),
        "option P2 halved": of(Regenerated(halve_p2=True), *others),
        "option bottleneck, P2 halved": of(Regenerated(generation="bottleneck", halve_p2=True), *others),
        "option separable": of(Regenerated(generation="separable"), *others),
        "option without P2": of(Regenerated(levels=without_p2), Decoupled(levels=without_p2), Responsive()),
        "option bottleneck, without P2": of(
            Regenerated(levels=without_p2, generation="bottleneck"), Decoupled(levels=without_p2), Responsive()
        ),
        **{f"method {preset}": PRESETS[preset] for preset in (*TABLE_1, Preset.ULTRALYTICS) if _measured(preset)},
    }


def _measured(preset: Preset) -> bool:
    return preset not in (Preset.NONE, Preset.RDR_KD)  # these two are measured as kinds of step


def peaks(steps: Mapping[str, Step], device: str) -> dict[str, float]:
    """Return each kind's peak memory of one step beyond what was allocated before, MiB."""
    return {kind: round(_peak(step, device) / MIB, 1) for kind, step in steps.items()}


def _peak(step: Step, device: str) -> int:
    step()  # allocates gradients and momenta, which stay
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    present = top = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        present += event.nbytes()
        top = max(top, present)
    return top


def epochs(student: str, imgsz: int, batch: int, device: str, repeats: int = 2) -> dict[str, Any]:
    """Return the seconds of an epoch with this library and with plain Ultralytics, and their ratio.

    On a CPU, processor time is measured.
    """
    with tempfile.TemporaryDirectory(prefix="rdrkd-bench-") as folder:
        scenes = write_scenes(Path(folder, "scenes"), "visdrone", _SCENES, (imgsz, imgsz), formats=["yolo"])
        data = Path(folder, "data.yaml")  # with absolute paths
        local_dataset(scenes).write_yaml(data)
        settings = TrainSettings(
            epochs=_EPOCHS, imgsz=imgsz, batch=batch, nbs=batch, workers=0, cache="ram", amp=device != "cpu"
        )
        plan, found = Plan(student, settings), {"product": [], "ultralytics": []}  # type: ignore[var-annotated]
        for repeat in range(repeats):
            for who in ("product", "ultralytics") if repeat % 2 == 0 else ("ultralytics", "product"):
                found[who] += _timed(who, plan, data, Path(folder, f"{who}-{repeat}"), device)
    medians = {who: statistics.median(seconds) for who, seconds in found.items()}
    return {"seconds": {who: [round(each, 3) for each in seconds] for who, seconds in found.items()},
            "ratio": round(medians["product"] / medians["ultralytics"], 3)}  # fmt: skip


def _timed(who: str, plan: Plan, data: Path, folder: Path, device: str) -> list[float]:
    """Train, and return the seconds of every epoch but the first."""
    folder.mkdir()
    place = device.removeprefix("cuda:")
    if who == "product":
        trainer: DetectionTrainer = Trainer(plan, data, folder, Memory(), place)
    else:
        model = {"model": f"{plan.student}.yaml"}
        trainer = DetectionTrainer(overrides=overrides(plan, data, folder, devices_of(place), None) | model)
    clock = time.process_time if device == "cpu" else time.perf_counter
    started: list[float] = []
    seconds: list[float] = []
    trainer.add_callback("on_train_epoch_start", lambda _trainer: started.append(clock()))
    trainer.add_callback("on_fit_epoch_end", lambda _trainer: seconds.append(clock() - started[-1]))
    with precision(getattr(trainer, "dtype", None)):
        trainer.train()
    return seconds[1:_EPOCHS]
