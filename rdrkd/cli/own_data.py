"""Build the spec of `rdrkd distill` and `rdrkd jobs submit` from options, and from facts that the files contain."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from rdrkd.cli.choices import PRESET, Choice, Facts, baseline, choose
from rdrkd.errors import Problem, RdrkdError, SpecError
from rdrkd.figures import counted
from rdrkd.run_folder.names import SPEC
from rdrkd.suggestion import nearest, suggestion

if TYPE_CHECKING:
    from rdrkd.client import Client
    from rdrkd.data.reading import Reading
    from rdrkd.spec import RunSpec

Epochs = Annotated[
    int | None,
    typer.Option(min=1, help="Passes over the training images; default: by their number.", show_default=False),
]
Imgsz = Annotated[
    int | None, typer.Option(min=32, help="Side of the network input, px; default: the teacher's.", show_default=False)
]
Batch = Annotated[
    int | None,
    typer.Option(min=1, help="Images per step; default: by the GPU's memory or the CPU's cores.", show_default=False),
]
PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset", help=f"Method, such as ultralytics, pkd+dkd or none; default: {PRESET}.", show_default=False
    ),
]
Baseline = Annotated[
    bool | None,
    typer.Option(
        "--baseline/--no-baseline",
        help="Also train the student alone, and compare; default: on, unless that takes many hours.",
        show_default=False,
    ),
]
RunName = Annotated[str | None, typer.Option("--name", help="Name of the run or job.", show_default=False)]

# The option that sets each field of the spec, for errors.
_OPTIONS = {
    "/train/epochs": "--epochs", "/train/imgsz": "--imgsz", "/train/batch": "--batch", "/dataset": "--data",
    "/distillation/preset": "--preset", "/name": "--name", "/baseline": "--baseline",
    "/teacher": "--teacher", "/student": "--student",
    "/imgsz": "--imgsz", "/batch": "--batch", "/split": "--split",  # of an evaluation
}  # fmt: skip
_TRAIN = ("epochs", "imgsz", "batch")
_RUNS = Path("runs")

# Prefixes of ids on the service.
_JOB, _MODEL = "job_", "mdl_"
_CHECK_SECONDS = 120.0  # longest wait for the check of an upload; then the job is queued without its facts


def asked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in values.items() if value is not None}


def refuse_with_spec(options: Mapping[str, Any]) -> None:
    """Refuse options that belong in the spec if there is one.

    Raises:
        BadParameter: such an option is given.
    """
    if options:
        names = ", ".join(f"--{name}" for name in options)
        raise typer.BadParameter(f"expected these in the spec, got {names} beside it: leave out one of the two")


def require(options: Mapping[str, Any]) -> None:
    """Refuse a command without a spec that lacks an option without a default.

    Raises:
        BadParameter: --teacher, --student or --data is missing.
    """
    if missing := [f"--{name}" for name in ("teacher", "student", "data") if options.get(name) is None]:
        raise typer.BadParameter(f"expected a spec, or --teacher, --student and --data, got no {', '.join(missing)}")


def folder_of(name: str | None, student: str, teacher: str) -> Path:
    """Return the default run folder.

    >>> str(folder_of(None, "yolov8n", "weights/big one.pt"))
    'runs/yolov8n-from-big-one'
    """
    return _RUNS / re.sub(r"[^\w.-]+", "-", name or name_of(student, teacher)).strip("-.")[:100]


def name_of(student: str, teacher: str) -> str:
    """Return a job's default name."""
    file = Path(student)
    return f"{file.stem if file.suffix in ('.pt', '.safetensors') else student}-from-{Path(teacher).stem}"


def student_of(text: str) -> dict[str, Any]:
    """Return the reference to a student, given its architecture or file.

    Raises:
        SpecError: the text is neither.
    """
    from rdrkd.spec import ARCHITECTURES

    if text in ARCHITECTURES:
        return {"architecture": text}
    if (found := file_of(text)) is not None:
        return found
    near = nearest(text.removesuffix(".pt").lower(), ARCHITECTURES)
    meant = f"; did you mean {near} (random weights)?" if near else f": {', '.join(ARCHITECTURES)}"
    raise SpecError(f"--student: expected a weights file or an architecture, got {text!r}{meant}")


def networks_of(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the references to teacher and student, without opening a file.

    Raises:
        SpecError: one does not exist.
    """
    student = student_of(options["student"])
    teacher = file_of(options["teacher"])
    if teacher is None:
        from rdrkd.spec.references import OFFICIAL

        meant = suggestion(options["teacher"], [f"{name}.pt" for name in OFFICIAL], cutoff=0.75)
        raise SpecError(f"--teacher: expected a weights file, got nothing at {options['teacher']}{meant}")
    return teacher, student


def file_of(text: str) -> dict[str, Any] | None:
    """Return the reference to a local weights file, or else to official weights of this name; None for neither."""
    from rdrkd import pretrained

    if Path(text).is_file():
        return {"path": text}
    name = pretrained.named(text)
    return None if name is None else {"architecture": name, "pretrained": True}


def spec_of(
    teacher: Mapping[str, Any],
    student: Mapping[str, Any],
    dataset: str,
    options: Mapping[str, Any],
    choices: list[Choice],
) -> dict[str, Any]:
    """Return the spec of a distillation with these choices; only `preset` and `name` may still be unset."""
    chosen = {choice.name: choice.value for choice in choices}
    train = {name: value for name, value in chosen.items() if name != "baseline"}
    if train.get("optimizer") == "AdamW":
        train |= {"momentum": 0.9, "warmup_bias_lr": 0.0}
    return {
        "kind": "distill",
        "name": options.get("name") or name_of(options["student"], options["teacher"]),
        "teacher": dict(teacher),
        "student": dict(student),
        "dataset": dataset,
        "distillation": {"preset": options.get("preset") or PRESET},
        "train": train,
        "baseline": chosen.get("baseline", False),
    }


def validated(content: dict[str, Any]) -> "RunSpec":
    """Validate a spec that was built from options.

    Raises:
        SpecError: values are refused; it has a problem for each such option.
    """
    from rdrkd.spec import RUN_SPEC
    from rdrkd.spec.problems import problems_of

    try:
        return RUN_SPEC.validate_python(content)
    except ValidationError as error:
        problems = [in_options(problem) for problem in problems_of(error, content)]
        raise SpecError(f"refused because of {counted(len(problems), 'option')}", problems) from None


def in_options(problem: Problem) -> Problem:
    """Rename a problem's field to the option that sets it."""
    return Problem(_OPTIONS.get(problem.where, problem.where), problem.detail)


def error_in_options(error: RdrkdError) -> RdrkdError:
    """Rename the fields in a run's error to the options that set them."""
    error.problems = tuple(in_options(problem) for problem in error.problems)
    words = str(error)
    for pointer, option in _OPTIONS.items():
        words = re.sub(rf"^{pointer[1:].replace('/', '[.]')}: ", f"{option}: ", words)
    error.args = (words,)
    return error


def advice_in_options(words: str) -> str:
    """Rename the settings in a run's advice to the options that set them; say of others that a spec file sets them.

    >>> advice_in_options("set train.batch to 3, and train.nbs to the same")
    'set --batch to 3, and train.nbs (in a spec file) to the same'
    """
    from rdrkd.spec import Distillation, TrainSettings

    known = [f"train.{name}" for name in TrainSettings.model_fields]
    known += [f"distillation.{name}" for name in Distillation.model_fields]
    return re.sub(rf"\b({'|'.join(map(re.escape, known))})\b", lambda match: _named(match[1]), words)


def _named(setting: str) -> str:
    return _OPTIONS.get("/" + setting.replace(".", "/"), f"{setting} (in a spec file)")


def lines_of(choices: list[Choice], preset: str | None) -> list[str]:
    """Return a line for each choice: the setting and the reason."""
    chosen = [*choices, Choice("preset", preset or PRESET, "as --preset says" if preset else "the default")]
    return [f"{choice.name} {choice.value}: {choice.why}" for choice in chosen]


def chosen_here(
    options: Mapping[str, Any],
    networks: tuple[dict[str, Any], dict[str, Any]],
    run_dir: Path,
    cache: Path | None,
    reading: "Reading",
    tell: Callable[[str], None],
) -> "RunSpec":
    """Choose the settings that were not given, print them, and return the spec.

    A resumed run keeps its settings, even if a GPU's free memory has changed. `networks` are those of `networks_of`.

    Raises:
        RdrkdError: a file cannot be used, or an option is refused.
    """
    teacher, student = networks
    begun = _begun(run_dir)
    if begun is not None:
        tell(f"{run_dir} has begun: its settings stay where no option sets them")
        choices = [Choice(name, value, "of the run") for name, value in begun["train"].items()]
        choices = [Choice(one.name, options.get(one.name, one.value), one.why) for one in choices]
        choices.append(Choice("baseline", options.get("baseline", begun.get("baseline", False)), "of the run"))
        preset = options.get("preset") or begun["distillation"]["preset"]
        content = spec_of(teacher, student, str(options["data"]), options, choices)
        return validated(content | {"distillation": begun["distillation"] | {"preset": preset}})
    _refuse_early(options, teacher, student)
    facts = _facts(options, teacher, student, run_dir, cache, reading)
    choices = _chosen(facts, options)
    spec = validated(spec_of(teacher, student, str(options["data"]), options, choices))
    for line in lines_of(choices, options.get("preset")):
        tell(line)
    return spec


def _chosen(facts: Facts, options: Mapping[str, Any]) -> list[Choice]:
    """Choose every setting that was not given."""
    choices = choose(facts, options)
    values = {choice.name: choice.value for choice in choices}
    return [*choices, baseline(facts, options, values["epochs"], values["imgsz"])]


def _refuse_early(options: Mapping[str, Any], teacher: Mapping[str, Any], student: Mapping[str, Any]) -> None:
    """Refuse options before a file is opened, or an archive unpacked.

    Raises:
        SpecError: one is refused.
    """
    validated(spec_of(teacher, student, str(options["data"]), options, choose(Facts(), options)))


def _begun(run_dir: Path) -> dict[str, Any] | None:
    import json

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


def chosen_for(options: Mapping[str, Any], service: "Client", tell: Callable[[str], None]) -> dict[str, Any]:
    """Upload the files that the service lacks, choose the settings that were not given, and return the job's spec.

    Raises:
        SpecError: a file cannot be used, or an option is refused.
    """
    from rdrkd.cli.inputs import Sender

    teacher, student = _on_service("teacher", options), _on_service("student", options)
    validated(spec_of(teacher, student, str(options["data"]), options, choose(Facts(), options)))
    teacher = _known(service, teacher)
    sender = Sender(service, Path(), tell)
    teacher, student = sender.reference(teacher, "--teacher"), sender.reference(student, "--student")
    dataset = sender.dataset(str(options["data"]), "--data")
    if dataset.startswith("ds_"):
        tell(f"{dataset}: waiting for its check ...")
    choices = _chosen(_facts_of(service, teacher, student, dataset), options)
    for line in lines_of(choices, options.get("preset")):
        tell(line)
    content = spec_of(teacher, student, dataset, options, choices)
    validated(content)
    return content


def _on_service(field: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reference for an option's value: a job, a model, an architecture, or a file."""
    text = str(options[field])
    if text.startswith(_JOB):
        return {"job": text}
    if not Path(text).is_file() and (text.startswith(_MODEL) or "@" in text):
        return {"model": text}
    if field == "student":
        return student_of(text)
    if (found := file_of(text)) is not None:
        return found
    if "/" in text or Path(text).suffix in (".pt", ".safetensors"):
        raise SpecError(f"--{field}: expected a weights file, or a model or job, got nothing at {text}")
    return {"model": text}


def _known(service: "Client", teacher: dict[str, Any]) -> dict[str, Any]:
    """Return the reference to a teacher with its id: a model of this name, or else a job.

    Raises:
        SpecError: the service has neither.
    """
    from rdrkd.client import Refused

    text = teacher.get("model")
    if text is None:
        return teacher
    for kind, read in (("model", service.model), ("job", service.job)):
        try:
            return {kind: read(text).id}
        except Refused as refused:
            if refused.code != "not_found":
                raise
    raise SpecError(f"--teacher: expected a weights file, or a model or job of the service, got {text!r}")


def _facts_of(service: "Client", teacher: Mapping[str, Any], student: Mapping[str, Any], dataset: str) -> Facts:
    """Read the facts from the service: its reports on the checked files, and the devices of its workers."""
    from rdrkd import pretrained

    report = _report(service.wait_dataset, dataset) if dataset.startswith("ds_") else {}
    imgsz = None
    if "job" in teacher:
        imgsz = service.job(teacher["job"]).spec.get("train", {}).get("imgsz")
    elif "pretrained" in teacher:
        imgsz = pretrained.IMGSZ
    elif teacher["model"].startswith(_MODEL):
        imgsz = _report(service.wait_model, teacher["model"]).get("imgsz")
    trainers = [worker for worker in service.workers() if worker["queue"] == "train" and worker["alive"]]
    gpus = [device for worker in trainers for device in worker["devices"]]
    return Facts(
        images=report.get("statistics", {}).get("splits", {}).get("train", {}).get("images"),
        classes=len(report.get("names") or ()) or None,
        teacher_imgsz=imgsz,
        student=student.get("architecture"),
        cores=min(worker["cpus"] for worker in trainers) if trainers and not gpus else None,
        gpu_bytes=min(device["memory"] for device in gpus) if gpus else None,
    )


def _report(wait: Callable[[str, float], Any], upload: str) -> Mapping[str, Any]:
    """Return the report on an upload, or an empty one if no worker checks it in time."""
    from rdrkd.client import NotEnded

    try:
        return wait(upload, _CHECK_SECONDS).report or {}
    except NotEnded:
        return {}
