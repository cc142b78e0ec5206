"""Choose the settings of `rdrkd distill` and `train` for this machine, from the facts that their files contain."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrkd.cli.choices import Choice, Facts, choose
from rdrkd.cli.distill_options import all_choices, lines_of, preset_choice, spec_of, training_spec_of, validated
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
    begun = _begun(run_dir, "distill")
    if begun is not None:
        choices = _kept(begun, options)
        choices.append(Choice("baseline", options.get("baseline", begun.get("baseline", False)), "of the run"))
        preset = options.get("preset") or begun["distillation"]["preset"]
        content = spec_of(teacher, student, str(options["data"]), options, choices)
        return validated(content | {"distillation": begun["distillation"] | {"preset": preset}})
    facts = _facts(options, teacher, student, run_dir, cache, reading)
    choices = all_choices(facts, options)
    spec = validated(spec_of(teacher, student, str(options["data"]), options, choices))
    for line in lines_of([*choices, preset_choice(options.get("preset"))]):
        tell(line)
    return spec


def chosen_training(
    options: Mapping[str, Any],
    model: dict[str, Any],
    run_dir: Path,
    cache: Path | None,
    reading: "Reading",
    tell: Callable[[str], None],
) -> "RunSpec":
    """Choose the settings of a training that were not given, as `chosen_here` does; `model` is a reference.

    Raises:
        RdrkdError: a file cannot be used, or an option is refused.
    """
    begun = _begun(run_dir, "train")
    if begun is not None:
        return validated(training_spec_of(model, str(options["data"]), options, _kept(begun, options)))
    choices = choose(_facts(options, model, model, run_dir, cache, reading), options)
    spec = validated(training_spec_of(model, str(options["data"]), options, choices))
    for line in lines_of(choices):
        tell(line)
    return spec


def _begun(run_dir: Path, kind: str) -> dict[str, Any] | None:
    """Return the spec of the run that began in a folder; None if there is none of this kind."""
    try:
        found: dict[str, Any] = json.loads((run_dir / SPEC).read_text())
    except (OSError, ValueError):
        return None  # the run itself refuses a damaged one
    return found if found.get("kind") == kind else None


def _kept(begun: Mapping[str, Any], options: Mapping[str, Any]) -> list[Choice]:
    """Return the settings of a run that began; those that are given now replace them."""
    return [Choice(name, options.get(name, value), "of the run") for name, value in begun["train"].items()]


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
    from rdrkd.models.pairs import check_classes
    from rdrkd.process.devices import devices_of

    loaded = {path: load_weights(Path(path)) for path in {teacher.get("path"), student.get("path")} if path}
    dataset = open_dataset(Path(options["data"]), cache or run_dir / "dataset", None, reading)
    imgsz = pretrained.IMGSZ if "pretrained" in teacher else None
    if "path" in teacher:
        imgsz = loaded[teacher["path"]].imgsz
        if "teacher" in options and options.get("preset") != "none":
            check_classes(loaded[teacher["path"]], dataset.names)  # before choices are printed that nobody will use
    first = devices_of(options.get("device"))[0]
    on_gpu = first.isdecimal()
    return Facts(
        images=len(dataset.splits.get("train", ())) or None,
        classes=len(dataset.names),
        teacher_imgsz=imgsz,
        whose="teacher" if "teacher" in options else "model",
        student=student.get("architecture") or loaded[student["path"]].architecture,
        cores=None if on_gpu else len(os.sched_getaffinity(0)),
        gpu_bytes=torch.cuda.mem_get_info(int(first))[0] if on_gpu else None,
    )
