"""Choose the settings of `rdrkd distill` for this machine, from the facts that its files contain."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrkd.cli.choices import Choice, Facts
from rdrkd.cli.distill_options import all_choices, lines_of, spec_of, validated
from rdrkd.run_folder.names import SPEC

if TYPE_CHECKING:
    from rdrkd.data.reading import Reading
    from rdrkd.spec import RunSpec


def chosen_here(
    options: Mapping[str, Any],
    networks: tuple[dict[str, Any], dict[str, Any]],
    run_dir: Path,
    cache: Path | None,
    reading: "Reading",
    tell: Callable[[str], None],
) -> "RunSpec":
    """Choose the settings that were not given, print them, and return the spec.

    A resumed run keeps its settings, even if a GPU's free memory has changed. `networks` are from
    `distill_inputs.local`.

    Raises:
        RdrkdError: a file cannot be used, or an option is refused.
    """
    teacher, student = networks
    begun = _begun(run_dir)
    if begun is not None:
        tell(f"resuming {run_dir} with its settings, where no option sets others")
        choices = [Choice(name, value, "of the run") for name, value in begun["train"].items()]
        choices = [Choice(one.name, options.get(one.name, one.value), one.why) for one in choices]
        choices.append(Choice("baseline", options.get("baseline", begun.get("baseline", False)), "of the run"))
        preset = options.get("preset") or begun["distillation"]["preset"]
        content = spec_of(teacher, student, str(options["data"]), options, choices)
        return validated(content | {"distillation": begun["distillation"] | {"preset": preset}})
    facts = _facts(options, teacher, student, run_dir, cache, reading)
    choices = all_choices(facts, options)
    spec = validated(spec_of(teacher, student, str(options["data"]), options, choices))
    for line in lines_of(choices, options.get("preset")):
        tell(line)
    return spec


def _begun(run_dir: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((run_dir / SPEC).read_text())
    except (OSError, ValueError):
        return None  # the run itself refuses a damaged one
    return found if found.get("kind") == "distill" else None


def _facts(
    options: Mapping[str, Any],
    teacher: Mapping[str, Any],
    student: Mapping[str, Any],
    run_dir: Path,
    cache: Path | None,
    reading: "Reading",
) -> Facts:
    """Read the facts from the files and from this machine."""
    import torch

    from rdrkd import pretrained
    from rdrkd.data import open_dataset
    from rdrkd.models import load_weights
    from rdrkd.process.devices import devices_of

    imgsz = pretrained.IMGSZ if "pretrained" in teacher else load_weights(Path(teacher["path"])).imgsz
    dataset = open_dataset(Path(options["data"]), cache or run_dir / "dataset", None, reading)
    first = devices_of(options.get("device"))[0]
    on_gpu = first.isdecimal()
    return Facts(
        images=len(dataset.splits.get("train", ())) or None,
        classes=len(dataset.names),
        teacher_imgsz=imgsz,
        student=student.get("architecture") or load_weights(Path(student["path"])).architecture,
        cores=None if on_gpu else len(os.sched_getaffinity(0)),
        gpu_bytes=torch.cuda.mem_get_info(int(first))[0] if on_gpu else None,
    )
