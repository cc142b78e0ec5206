"""`rdrkd bench`: measure the cost of distillation, by timing several kinds of training step in turn within one run.

By default there are four kinds: the student alone, the student with the teacher's forward pass, RDR-KD, and
Ultralytics' own distillation as Ultralytics computes it. If methods are given: the first two, and each preset.

A step is forward, losses, backward, gradient clipping and optimiser step on one fixed batch; data loading and
validation are left out, since their cost is the same for every kind. The kinds take turns, so that a slowdown of the
machine affects all of them, and each ratio is taken within one round. On a CPU with other work, measure processor time
on one thread (OMP_NUM_THREADS=1), which that work hardly affects.
"""

import copy
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from rdrkd import __version__
from rdrkd.data.scenes import NAMES, render
from rdrkd.distillation.distiller import Distiller
from rdrkd.errors import SpecError
from rdrkd.events import EXIT_DONE
from rdrkd.files import write_json
from rdrkd.models import build
from rdrkd.process.devices import CPU, devices_of
from rdrkd.run import cost
from rdrkd.spec.presets import PRESETS, Preset, Recipe
from rdrkd.spec.study import GROUPS
from rdrkd.suggestion import suggestion
from rdrkd.training.clipping import clip
from rdrkd.ultralytics_adapter import ULTRALYTICS_VERSION, DetectionModel, DistillationModel, default_arguments

WARM_UP = 5  # uncounted rounds
ALONE = {
    "student": "student alone",
    "student_teacher_forward": "student + teacher forward",
}
KINDS = {
    **ALONE,
    "rdr_kd": "RDR-KD",
    "ultralytics": "Ultralytics' own distillation",
}
Batch = dict[str, torch.Tensor]
Step = Callable[[], None]
Clock = Callable[[], float]  # seconds


@dataclass(frozen=True)
class Setting:
    """The networks and the batch to measure."""

    device: str
    teacher: str
    student: str
    imgsz: int  # px
    batch: int  # images
    amp: bool


def setting_for(device: str | None) -> Setting:
    """Choose the teacher-student pair: the real one on a GPU, a small one on the CPU."""
    first = devices_of(device)[0]
    if first == CPU:
        return Setting("cpu", "yolov8s", "yolov8n", imgsz=160, batch=4, amp=False)
    return Setting(f"cuda:{first}", "yolov8l", "yolov8n", imgsz=640, batch=16, amp=True)


def presets_of(text: str) -> tuple[Preset, ...]:
    """Parse comma-separated names of presets and groups; `none`, the student alone, is always measured and is dropped.

    Raises:
        SpecError: a name is neither a preset nor a group, or only `none` is given.

    >>> [str(preset) for preset in presets_of("none,cwd,mgd+dkd,cwd")]
    ['cwd', 'mgd+dkd']
    """
    found: dict[Preset, None] = {}
    for name in text.split(","):
        if name not in GROUPS and name not in set(Preset):
            known = [*GROUPS, *map(str, Preset)]
            raise SpecError(f"--methods: expected methods among {known}, got {name!r}{suggestion(name, known)}")
        found |= dict.fromkeys(GROUPS.get(name) or [Preset(name)])
    found.pop(Preset.NONE, None)
    if not found:
        raise SpecError(f"expected methods beside the student alone, got {text!r}")
    return tuple(found)


def bench(
    output: Path,
    rounds: int = 15,
    device: str | None = None,
    console: Console | None = None,
    methods: Sequence[Preset] = (),
    processor_time: bool = False,
    everything: bool = False,
) -> int:
    """Measure, print the table, and write `bench-<device>.json` (or `bench-methods-<device>.json`) into `output`.

    With `everything`, each term, level, option and comparator is also measured, with memory and an epoch
    (`rdrkd.run.cost`). The file is written after each round, so that an interrupted run loses at most one round;
    `complete` is false in the file of an interrupted run.

    Raises:
        SpecError: processor time is requested on a GPU, which works asynchronously to the processor.
    """
    console = console or Console()
    setting = setting_for(device)
    if processor_time and setting.device != "cpu":
        raise SpecError(f"expected the CPU for processor time, got {setting.device}")
    steps, beside = build_method_steps(setting, methods) if methods else (build_steps(setting), None)
    if everything:
        steps |= build_recipe_steps(setting, cost.recipes())
    clock = time.process_time if processor_time else time.perf_counter
    report: dict[str, Any] = {
        "setting": asdict(setting), "clock": "processor" if processor_time else "wall",
        "rounds": 0, "warm_up_rounds": WARM_UP, "complete": False, **_circumstances(setting.device),
        **({"trained_beside_student": beside} if beside else {}),
    }  # fmt: skip
    output.mkdir(parents=True, exist_ok=True)
    target = output / f"bench-{'methods-' if methods else ''}{setting.device.split(':')[0]}.json"

    def write(**found: Any) -> None:
        report.update(found)
        write_json(target, report)

    if everything:
        write(peak_mebibytes=cost.peaks(steps, setting.device))
    for samples in measure(steps, rounds, setting.device, console, clock):
        write(rounds=len(samples["student"]), **summary(samples))
    if everything:
        write(epoch=cost.epochs(setting.student, setting.imgsz, setting.batch, setting.device))
    write(complete=True)
    console.print(_table(report))
    console.print(f"Written to [bold]{target}[/]")
    return EXIT_DONE


# -- the kinds of step


def build_steps(setting: Setting, seed: int = 0) -> dict[str, Step]:
    """Build each kind of step with a separate student, from the same weights, on the same batch."""
    teacher, student, batch = _pair(setting, seed)
    distiller = Distiller(copy.deepcopy(teacher), copy.deepcopy(student), PRESETS[Preset.RDR_KD])
    builtin = DistillationModel(copy.deepcopy(teacher), copy.deepcopy(student))
    return {
        **_alone(teacher, student, batch, setting),
        "rdr_kd": _step(distiller, batch, setting),
        "ultralytics": _step(builtin, batch, setting),
    }


def build_method_steps(
    setting: Setting, methods: Sequence[Preset], seed: int = 0
) -> tuple[dict[str, Step], dict[str, int]]:
    """Build a step for each preset, and count the parameters that it trains in addition to the student's."""
    teacher, student, batch = _pair(setting, seed)
    steps, beside = _alone(teacher, student, batch, setting), {}
    for preset in methods:
        distiller = Distiller(teacher, copy.deepcopy(student), PRESETS[preset])
        steps[preset.value] = _step(distiller, batch, setting)
        beside[preset.value] = sum(parameter.numel() for parameter in distiller.projector.parameters())
    return steps, beside


def build_recipe_steps(setting: Setting, recipes: Mapping[str, Recipe], seed: int = 0) -> dict[str, Step]:
    """Build a step for each recipe."""
    teacher, student, batch = _pair(setting, seed)
    return {name: _step(Distiller(teacher, copy.deepcopy(student), recipe), batch, setting)
            for name, recipe in recipes.items()}  # fmt: skip


def _pair(setting: Setting, seed: int) -> tuple[DetectionModel, DetectionModel, Batch]:
    """Build teacher, student and batch."""
    torch.manual_seed(seed)
    names = NAMES["visdrone"]
    device = torch.device(setting.device)
    teacher = build(setting.teacher, names).to(device).eval().requires_grad_(False)
    student = build(setting.student, names).to(device)
    student.args = default_arguments(imgsz=setting.imgsz)
    return teacher, student, _batch(setting, seed)


def _alone(teacher: DetectionModel, student: DetectionModel, batch: Batch, setting: Setting) -> dict[str, Step]:
    """Return the two steps with which every method is compared."""
    return {
        "student": _step(copy.deepcopy(student), batch, setting),
        "student_teacher_forward": _step(
            copy.deepcopy(student), batch, setting, beside=lambda: _forward(teacher, batch)
        ),
    }


def _forward(teacher: DetectionModel, batch: Batch) -> None:
    with torch.no_grad():
        teacher(batch["img"])


def _step(model: Any, batch: Batch, setting: Setting, beside: Step | None = None) -> Step:
    """Build one training step as Ultralytics' trainer runs it."""
    model.to(setting.device).train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=1e-4, momentum=0.937, nesterov=True)
    scaler = torch.amp.GradScaler(enabled=setting.amp)

    def run() -> None:
        optimizer.zero_grad()
        with _autocast(setting):
            if beside:
                beside()
            loss, _ = model(batch)
        scaler.scale(loss.sum()).backward()
        scaler.unscale_(optimizer)
        clip(model)
        scaler.step(optimizer)
        scaler.update()

    return run


def _autocast(setting: Setting) -> AbstractContextManager[Any]:
    return torch.autocast(setting.device.split(":")[0], enabled=setting.amp)


def _batch(setting: Setting, seed: int) -> Batch:
    """Return a batch of synthetic scenes, with as many and as small objects as VisDrone's."""
    side = setting.imgsz
    images, classes, boxes, owners = [], [], [], []
    for index in range(setting.batch):
        scene = render("visdrone", (side, side), seed, "train", index)
        images.append(torch.from_numpy(np.ascontiguousarray(scene.image.transpose(2, 0, 1))))
        for box in scene.frame.boxes:
            if box.label is None or box.ignored:
                continue
            classes.append(float(box.label))
            center = (box.x + box.width / 2, box.y + box.height / 2)
            boxes.append([value / side for value in (*center, box.width, box.height)])
            owners.append(float(index))
    batch = {
        "img": torch.stack(images).float() / 255,
        "cls": torch.tensor(classes).view(-1, 1),
        "bboxes": torch.tensor(boxes).view(-1, 4),
        "batch_idx": torch.tensor(owners),
    }
    return {key: value.to(setting.device) for key, value in batch.items()}


# -- measuring


def measure(
    steps: dict[str, Step], rounds: int, device: str, console: Console, clock: Clock = time.perf_counter
) -> Iterator[dict[str, list[float]]]:
    """Time every kind once per round, in rotating order; yield all milliseconds by kind after each round."""
    kinds = list(steps)
    samples: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in track(range(WARM_UP + rounds), description="measuring", console=console, transient=True):
        for kind in kinds[number % len(kinds) :] + kinds[: number % len(kinds)]:
            elapsed = _timed(steps[kind], device, clock)
            if number >= WARM_UP:
                samples[kind].append(elapsed)
        if number >= WARM_UP:
            yield samples


def _timed(step: Step, device: str, clock: Clock) -> float:
    _settle(device)
    started = clock()
    step()
    _settle(device)
    return 1000 * (clock() - started)


def _settle(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def summary(samples: dict[str, list[float]]) -> dict[str, Any]:
    """Summarise milliseconds by kind, and the ratio of each kind to the student alone within the same round.

    >>> summary({"student": [10.0, 10.0, 20.0], "rdr_kd": [20.0, 30.0, 40.0]})["ratios_to_student"]["rdr_kd"]
    {'median': 2.0, 'p25': 2.0, 'p75': 2.5}
    """
    alone = samples["student"]
    ratios = {kind: [a / b for a, b in zip(values, alone, strict=True)] for kind, values in samples.items()}
    return {
        "milliseconds": {kind: _spread(values) for kind, values in samples.items()},
        "ratios_to_student": {kind: _spread(values) for kind, values in ratios.items()},
        "samples_milliseconds": {kind: [round(value, 3) for value in values] for kind, values in samples.items()},
    }


def _spread(values: list[float]) -> dict[str, float]:
    low, _, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"median": round(statistics.median(values), 3), "p25": round(low, 3), "p75": round(high, 3)}


def _circumstances(device: str) -> dict[str, Any]:
    """Return the machine's properties on which the figures depend."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor()
    return {
        "device_name": name,
        "threads": torch.get_num_threads(),
        "command": ["rdrkd", *sys.argv[1:]],
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "rdrkd": __version__,
            "torch": str(torch.__version__),
            "ultralytics": ULTRALYTICS_VERSION,
            "python": ".".join(map(str, sys.version_info[:3])),
        },
    }


def _processor() -> str:
    """Return the processor's name, as far as the system reports it."""
    import platform

    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    found = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or platform.machine()


def _table(report: dict[str, Any]) -> Table:
    setting = report["setting"]
    precision = "AMP" if setting["amp"] else "fp32"
    table = Table(
        title=f"{setting['teacher']} -> {setting['student']}, {setting['imgsz']} px, batch {setting['batch']}, "
        f"{precision}, {report['device_name']}, {report['rounds']} rounds, {report['clock']} time"
    )
    table.add_column("step")
    table.add_column("median ms", justify="right")
    table.add_column("25-75 %", justify="right")
    table.add_column("x student", justify="right")
    table.add_column("25-75 %", justify="right")
    memory = report.get("peak_mebibytes", {})
    if memory:
        table.add_column("peak MiB", justify="right")
        table.caption = f"an epoch through the product takes {report['epoch']['ratio']:.3f} of plain Ultralytics'"
    names = ALONE if "trained_beside_student" in report else KINDS  # here `ultralytics` is this project's preset
    for kind in report["milliseconds"]:
        cells = []
        for block, digits in (("milliseconds", 1), ("ratios_to_student", 2)):
            spread = report[block][kind]
            cells += [f"{spread['median']:.{digits}f}", f"{spread['p25']:.{digits}f}-{spread['p75']:.{digits}f}"]
        cells += [f"{memory[kind]:.0f}"] if memory else []
        table.add_row(names.get(kind, kind), *cells)
    return table
