"""The options of `rdrkd distill`, `train` and `jobs submit`, and the spec that they make with the choices."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from rdrkd.cli.choices import PRESET, Choice, Facts, baseline, choose
from rdrkd.cli.options import number
from rdrkd.errors import Problem, RdrkdError, SpecError
from rdrkd.figures import counted
from rdrkd.suffixes import archive_suffix

if TYPE_CHECKING:
    from rdrkd.spec import RunSpec

Epochs = Annotated[
    int | None,
    typer.Option(
        parser=number, min=1, help="Passes over the training images; default: by their number.", show_default=False
    ),
]
Imgsz = Annotated[
    int | None,
    typer.Option(
        parser=number, min=32, help="Side of the network input, px; default: the teacher's.", show_default=False
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        parser=number,
        min=1,
        help="Images per step; default: by the GPU's memory or the CPU's cores.",
        show_default=False,
    ),
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
    "/teacher": "--teacher", "/student": "--student", "/model": "--model",
    "/imgsz": "--imgsz", "/batch": "--batch", "/split": "--split",  # of an evaluation
}  # fmt: skip
_RUNS = Path("runs")


def asked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in values.items() if value is not None}


def refuse_with_spec(spec: Path, command: str, options: Mapping[str, Any]) -> None:
    """Refuse options that belong in the spec if there is one.

    Raises:
        BadParameter: such an option is given.
        SpecError: such an option is given, and `spec` is an input of the command that belongs in an option, too.
    """
    if options:
        from rdrkd.cli.expected_spec import expect_spec

        expect_spec(spec, command)
        names = ", ".join(f"--{name}" for name in options)
        raise typer.BadParameter(f"expected these in the spec, got {names} beside it: leave out one of the two")


def require(options: Mapping[str, Any], *names: str) -> None:
    """Refuse a command without a spec that lacks one of the named options, which have no default.

    Raises:
        BadParameter: one is missing.
    """
    if missing := [f"--{name}" for name in names if options.get(name) is None]:
        *first, last = (f"--{name}" for name in names)
        raise typer.BadParameter(f"expected a spec, or {', '.join(first)} and {last}, got no {', '.join(missing)}")


def folder_of(name: str) -> Path:
    """Return the default run folder of a job's or spec's name.

    >>> str(folder_of("n from l"))
    'runs/n-from-l'
    """
    return _RUNS / re.sub(r"[^\w.-]+", "-", name).strip("-.")[:100]


def training_name_of(options: Mapping[str, Any]) -> str:
    """Return a training's name.

    >>> training_name_of({"model": "yolov8l.pt", "data": "surveys/may.zip"})
    'yolov8l-on-may'
    """
    return options.get("name") or f"{_stem(options['model'])}-on-{_stem(options['data'])}"


def name_of(options: Mapping[str, Any]) -> str:
    """Return a distillation's name.

    >>> name_of({"student": "yolov8n", "teacher": "weights/big one.pt"})
    'yolov8n-from-big one'
    """
    student, file = options["student"], Path(options["student"])
    stem = file.stem if file.suffix in (".pt", ".safetensors") else student
    return options.get("name") or f"{stem}-from-{Path(options['teacher']).stem}"


def spec_of(
    teacher: Mapping[str, Any],
    student: Mapping[str, Any],
    dataset: str,
    options: Mapping[str, Any],
    choices: list[Choice],
) -> dict[str, Any]:
    """Return the spec of a distillation with these choices; only `preset` and `name` may still be unset."""
    chosen = {choice.name: choice.value for choice in choices}
    return {
        "kind": "distill",
        "name": name_of(options),
        "teacher": dict(teacher),
        "student": dict(student),
        "dataset": dataset,
        "distillation": {"preset": options.get("preset") or PRESET},
        "train": _settings_of(choices),
        "baseline": chosen.get("baseline", False),
    }


def training_spec_of(
    model: Mapping[str, Any], dataset: str, options: Mapping[str, Any], choices: list[Choice]
) -> dict[str, Any]:
    """Return the spec of a training of one model with these choices."""
    return {
        "kind": "train",
        "name": training_name_of(options),
        "model": dict(model),
        "dataset": dataset,
        "train": _settings_of(choices),
    }


def _settings_of(choices: list[Choice]) -> dict[str, Any]:
    settings = {choice.name: choice.value for choice in choices if choice.name != "baseline"}
    return settings | ({"momentum": 0.9, "warmup_bias_lr": 0.0} if settings.get("optimizer") == "AdamW" else {})


def _stem(named: str) -> str:
    """Return a weights file's, dataset's or architecture's name without its suffix.

    >>> _stem("weights/l.pt"), _stem("surveys/may/data.yaml"), _stem("may.tar.gz"), _stem("yolov8n")
    ('l', 'may', 'may', 'yolov8n')
    """
    path = Path(named)
    if path.name in ("data.yaml", "data.yml"):
        path = path.absolute().parent
    return path.name.removesuffix(archive_suffix(path.name) or path.suffix)


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


def preset_choice(preset: str | None) -> Choice:
    """Return the choice of the method."""
    return Choice("preset", preset or PRESET, "as --preset says" if preset else "the default")


def lines_of(choices: list[Choice]) -> list[str]:
    """Return a line for each choice: the setting and the reason."""
    return [f"{choice.name} {_shown(choice.value)}: {choice.why}" for choice in choices]


def _shown(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def all_choices(facts: Facts, options: Mapping[str, Any]) -> list[Choice]:
    """Choose every setting that was not given."""
    choices = choose(facts, options)
    values = {choice.name: choice.value for choice in choices}
    return [*choices, baseline(facts, options, values["epochs"], values["imgsz"])]
