"""Train a teacher, then a student alone and under each method with the same seeds; write one JSON and print the table.

Every member is a run folder: run the same command again and what is finished is kept, what was cut off goes on.

    python studies/compare.py hit_uav.zip --out runs/hit-uav --teacher yolov8n --start yolov8n_coco.pt \
        --student yolov8n-half --seed 0 --seed 1 --train '{"epochs": 10, "imgsz": 320, "fraction": 0.4}'
"""

import json
import platform
import shlex
import statistics
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from rdrkd import __version__
from rdrkd.console import People
from rdrkd.run import Inputs, run
from rdrkd.spec import JOB_SPEC, Preset
from rdrkd.ultralytics_adapter import ULTRALYTICS_VERSION

FIGURES = ("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L")


def main(
    dataset: Annotated[Path, typer.Argument(help="Folder, data YAML or zip in YOLO layout.")],
    out: Annotated[Path, typer.Option(help="Folder of the run folders and of results.json.")],
    teacher: Annotated[str, typer.Option(help="Architecture of the teacher.")] = "yolov8l",
    start: Annotated[Path | None, typer.Option(help="Start weights of the teacher, instead of random ones.")] = None,
    student: Annotated[str, typer.Option(help="Architecture of the student.")] = "yolov8n",
    student_start: Annotated[Path | None, typer.Option(help="Start weights of the student.")] = None,
    method: Annotated[list[Preset] | None, typer.Option(help="Presets; `none` is the student alone.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Seeds; every method gets each.")] = None,
    train: Annotated[str, typer.Option(help="Training settings of every member, JSON, as in a job spec.")] = "{}",
    teacher_epochs: Annotated[int | None, typer.Option(help="Epochs of the teacher; default: as the students.")] = None,
    device: Annotated[
        str | None, typer.Option(help="`cpu` or a GPU's number; default: the GPU where there is one.")
    ] = None,
) -> None:
    """Compare methods on one dataset."""
    settings = json.loads(train)
    inputs = Inputs(cache=out / "cache", device=device)

    def member(name: str, spec: dict[str, Any]) -> dict[str, Any]:
        Console().rule(name)
        parsed = JOB_SPEC.validate_python({**spec, "dataset": str(dataset)})
        return run(parsed, out / name, People(), inputs)

    def model(architecture: str, weights: Path | None) -> dict[str, str]:
        return {"path": str(weights)} if weights else {"architecture": architecture}

    first = {**settings, "epochs": teacher_epochs} if teacher_epochs else settings
    results = [
        ("teacher", 0, member("teacher", {"kind": "train", "model": model(teacher, start), "train": first})),
    ]
    for number in seed or [0]:
        for preset in method or [Preset.NONE, Preset.RDR_KD]:
            spec = {
                "kind": "distill", "teacher": {"path": str(out / "teacher" / "student.pt")},
                "student": model(student, student_start), "distillation": {"preset": preset},
                "train": {**settings, "seed": number},
            }  # fmt: skip
            results.append((str(preset), number, member(f"{preset}-seed-{number}", spec)))
    report = {
        "dataset": dataset.name,
        "command": f"python {shlex.join(sys.argv)}",
        "versions": {"rdrkd": __version__, "ultralytics": ULTRALYTICS_VERSION, "torch": str(torch.__version__),
                     "python": platform.python_version(), "device": _device(device)},
        "train": settings,
        "members": [_member(name, number, result) for name, number, result in results],
    }  # fmt: skip
    (out / "results.json").write_text(json.dumps(report, indent=2) + "\n")
    _show(report["members"])


def _device(device: str | None) -> str:
    on_gpu = device != "cpu" and torch.cuda.is_available()
    return torch.cuda.get_device_name(0) if on_gpu else f"{torch.get_num_threads()} CPU threads"


def _member(name: str, seed: int, result: dict[str, Any]) -> dict[str, Any]:
    return {
        "method": name, "seed": seed, "metrics": result["metrics"]["coco"],
        "metrics_maxdets500": result["metrics"]["coco_maxdets500"], "ultralytics": result["metrics"]["ultralytics"],
        "student": result["student"], "best_epoch": result["best_epoch"], "epochs": result["epochs"],
        "seconds": result["seconds"],
    }  # fmt: skip


def _show(members: list[dict[str, Any]]) -> None:
    table = Table("method", "seeds", *FIGURES, title="COCO protocol, maxDets 100, percent: mean (spread)")
    for name in dict.fromkeys(member["method"] for member in members):
        own = [member["metrics"] for member in members if member["method"] == name]
        cells = []
        for figure in FIGURES:
            values = [metrics[figure] for metrics in own if metrics[figure] is not None]
            spread = f" ({statistics.stdev(values):.2f})" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.2f}{spread}" if values else "-")
        table.add_row(name, str(len(own)), *cells)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
