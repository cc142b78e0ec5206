"""`rdrkd advise`: settings for a dataset on this machine, with time and memory measured, not looked up."""

import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdrkd.advice import Advice, imgsz_for
from rdrkd.cli.choices import PRESET, Facts, choose
from rdrkd.cli.distill_inputs import gathered, present, there
from rdrkd.cli.options import Device
from rdrkd.cli.reading import takes_reading
from rdrkd.errors import SpecError
from rdrkd.events import EXIT_DONE
from rdrkd.figures import duration, size
from rdrkd.process import environment
from rdrkd.process.process import events_stream
from rdrkd.suggestion import suggestion

if TYPE_CHECKING:
    from rdrkd.data import Dataset
    from rdrkd.data.reading import Reading

STUDENTS = ("yolov8n-half", "yolov8n", "yolov8s")
_SPARE = 0.8  # usable share of the free memory
_STEPS = 2  # timed steps, after two untimed ones
_RUNS = Path("runs")


@dataclass(frozen=True)
class Cost:
    """The time and memory of training one student on this machine.

    Attributes:
        student: the student's architecture.
        seconds: duration of the whole training.
        memory_bytes: peak memory: of the process on a CPU, allocated on a GPU.
        basis: how these figures were determined.
    """

    student: str
    seconds: float
    memory_bytes: int
    basis: str


@takes_reading
def advise(
    data: Annotated[Path, typer.Option("--data", help="Dataset: folder, data YAML, zip or tar.", show_default=False)],
    teacher: Annotated[str, typer.Option(help="Architecture of the teacher.")] = "yolov8l",
    student: Annotated[
        str | None,
        typer.Option(help=f"Architecture of the student; default: one of {', '.join(STUDENTS)}.", show_default=False),
    ] = None,
    imgsz: Annotated[
        int | None,
        typer.Option(
            min=32,
            max=4096,
            help="Side of the network input, px; default: by the objects' size.",
            show_default=False,
        ),
    ] = None,
    hours: Annotated[float, typer.Option(min=0.01, help="Longest acceptable training, hours.")] = 24.0,
    runs: Annotated[
        Path,
        typer.Option(help="Folder of earlier runs, whose measured times replace trials."),
    ] = _RUNS,
    *,
    reading: "Reading",
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Suggest settings for a dataset: input size, student, preset, batch, and how long training takes here."""
    environment.apply()
    gathered(
        partial(_architecture, "--teacher", teacher),
        partial(_architecture, "--student", student),
        partial(there, "--data", data, "a dataset"),
        partial(present, device),
    )
    typer.echo(f"checking {data}, then timing a few steps of each student ...", err=True)
    stream = events_stream()  # redirect the output of torch and Ultralytics
    content = _content(data, teacher, student, imgsz, hours, runs, reading, device)
    lines = [json.dumps(content)] if as_json else _lines(content)
    stream.write("".join(f"{line}\n" for line in lines))
    stream.flush()
    raise typer.Exit(EXIT_DONE)


def _content(
    data: Path, teacher: str, student: str | None, imgsz: int | None, hours: float, runs: Path, reading: "Reading",
    device: str | None,
) -> dict[str, Any]:  # fmt: skip
    from rdrkd.data import open_dataset
    from rdrkd.data.check import check

    with tempfile.TemporaryDirectory(prefix="rdrkd-advise-") as cache:
        dataset = open_dataset(data, Path(cache), reading=reading)
        split = check(dataset).statistics["splits"].get("train", {})
    given = {} if imgsz is None else {"imgsz": imgsz}
    fitting = imgsz_for(split) if imgsz is None else None
    if fitting is not None:
        given["imgsz"] = fitting.value
    candidates = [student] if student is not None else list(STUDENTS)
    machine, place = _machine(device)
    facts = {name: Facts(split.get("images"), len(dataset.names), student=name, **machine) for name in candidates}
    chosen = {name: {one.name: one for one in choose(facts[name], given)} for name in candidates}
    costs = [_cost(name, teacher, chosen[name], dataset, split["images"], runs, place) for name in candidates]
    free = _free(place)
    best = _best(costs, free, hours)
    advice = [fitting or chosen[best.student]["imgsz"], _student(best, costs, free, hours)]
    advice = [Advice(*advice[0]), advice[1], Advice("preset", PRESET, "this library's method; `rdrkd study` compares")]
    advice += [Advice(*one) for name, one in chosen[best.student].items() if name != "imgsz"]
    return {
        "advice": [one._asdict() for one in advice],
        "costs": [vars(cost) for cost in costs],
        "free_bytes": free,
        "teacher": teacher,
    }


def _architecture(option: str, name: str | None) -> None:
    from rdrkd.spec import ARCHITECTURES

    if name is not None and name not in ARCHITECTURES:
        meant = suggestion(name, ARCHITECTURES)
        raise SpecError.at(option, f"expected an architecture of {', '.join(ARCHITECTURES)}, got {name!r}{meant}")


def _machine(device: str | None) -> tuple[dict[str, Any], str]:
    """Return the facts about the training device, and its name for torch."""
    import os

    import torch

    from rdrkd.process.devices import devices_of

    first = devices_of(device)[0]
    if first.isdecimal():
        return {"gpu_bytes": torch.cuda.mem_get_info(int(first))[0]}, f"cuda:{first}"
    return {"cores": len(os.sched_getaffinity(0))}, "cpu"


def _free(place: str) -> int:
    import psutil
    import torch

    return int(torch.cuda.mem_get_info(place)[0] if place != "cpu" else psutil.virtual_memory().available)


def _best(costs: list[Cost], free: int, hours: float) -> Cost:
    """Return the largest student that fits the memory and the time, or the cheapest if none does."""
    fitting = [cost for cost in costs if cost.memory_bytes <= _SPARE * free and cost.seconds <= 3600 * hours]
    return fitting[-1] if fitting else min(costs, key=lambda cost: cost.seconds)


def _student(best: Cost, costs: list[Cost], free: int, hours: float) -> Advice:
    if best.memory_bytes > _SPARE * free:
        return Advice("student", best.student, f"the cheapest, but beyond {_SPARE:.0%} of {size(free)} free memory")
    if best.seconds > 3600 * hours:
        return Advice("student", best.student, f"the cheapest, but it takes more than {hours:g} h: use a GPU")
    return Advice("student", best.student, f"the largest of {len(costs)} that fits {size(free)} and {hours:g} h")


# -- time and memory


def _cost(
    student: str, teacher: str, chosen: Mapping[str, Any], dataset: "Dataset", images: int, runs: Path, place: str
) -> Cost:
    """Return the cost of a training, from earlier runs on this machine if there are any, else from a few steps."""
    wanted = {name: chosen[name].value for name in ("imgsz", "batch")}
    epochs = chosen["epochs"].value
    if earlier := list(_earlier(runs, dataset.sha256, student, wanted, place)):
        seconds = statistics.median(seconds for seconds, _ in earlier)
        basis = f"{len(earlier)} earlier run{'s' * (len(earlier) > 1)} in {runs}"
        return Cost(student, round(seconds * epochs, 1), max(memory for _, memory in earlier), basis)
    return _tried(
        student, teacher, wanted["imgsz"], wanted["batch"], epochs * math.ceil(images / wanted["batch"]), place
    )


def _earlier(
    runs: Path, dataset: str, student: str, wanted: Mapping[str, int], place: str
) -> Iterator[tuple[float, int]]:
    """Yield the seconds of an epoch and the memory of each finished distillation with the same dataset and settings."""
    from rdrkd.run_folder.names import METRICS, RESOLVED, RESULT

    for file in sorted(runs.glob(f"*/{RESULT}")):
        try:
            result = json.loads(file.read_text())
            spec = json.loads(file.with_name(RESOLVED).read_text())
            lines = [json.loads(line) for line in file.with_name(METRICS).read_text().splitlines()]
            same = spec["kind"] == "distill" and spec["provenance"]["dataset_sha256"] == dataset
            same = same and result["student"]["architecture"] == student
            same = same and all(spec["train"][name] == value for name, value in wanted.items())
            if same and result["device"].startswith("CPU") == (place == "cpu"):
                own = [line["seconds"] for line in lines if line.get("part", "student") == "student"]
                yield statistics.median(own), int(result["memory_bytes"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # no finished run of this version


def _tried(student: str, teacher: str, imgsz: int, batch: int, steps: int, place: str) -> Cost:
    """Measure a few steps at two batch sizes (small ones on a CPU), and extrapolate linearly to the wanted one."""
    low, high = (1, min(2, batch)) if place == "cpu" else (max(1, batch // 2), batch)
    found = {count: _measured(student, teacher, imgsz, count, place) for count in {low, high}}

    def at(index: int) -> float:
        first, last = found[low][index], found[high][index]
        slope = (last - first) / (high - low) if high > low else 0.0
        return max(last, first + max(0.0, slope) * (batch - low))

    basis = f"measured: {_STEPS} steps at batch {' and '.join(map(str, sorted(found)))}, without reading and validation"
    return Cost(student, round(at(0) * steps, 1), round(at(1)), basis)


def _measured(student: str, teacher: str, imgsz: int, batch: int, place: str) -> tuple[float, float]:
    """Return the duration of a step of the default preset, seconds, and its peak memory, bytes."""
    import psutil
    import torch

    from rdrkd.cli.bench import Setting, build_recipe_steps
    from rdrkd.run import cost
    from rdrkd.spec import PRESETS, Preset

    setting = Setting(place, teacher, student, imgsz, batch, amp=place != "cpu")
    step = build_recipe_steps(setting, {PRESET: PRESETS[Preset.RDR_KD]})[PRESET]
    present = torch.cuda.memory_allocated(place) if place != "cpu" else psutil.Process().memory_info().rss
    peak = present + cost.peaks({PRESET: step}, place)[PRESET] * cost.MIB
    times = []
    for _ in range(_STEPS):
        started = time.perf_counter()
        step()
        if place != "cpu":
            torch.cuda.synchronize(place)
        times.append(time.perf_counter() - started)
    return min(times), peak


# -- output


def _lines(content: Mapping[str, Any]) -> list[str]:
    rows = [(one["setting"], str(one["value"]), one["why"]) for one in content["advice"]]
    for cost in content["costs"]:
        takes = f"{duration(cost['seconds'])}, {size(cost['memory_bytes'])}"
        rows.append((f"cost of {cost['student']}", takes, cost["basis"]))
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [f"{name:{first}}  {value:{second}}  {why}" for name, value, why in rows]
