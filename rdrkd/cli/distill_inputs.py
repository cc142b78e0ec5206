"""Resolve what --teacher, --student, --model and --data name; refuse all that is wrong with the options at once."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrkd.cli.choices import Choice
from rdrkd.cli.distill_options import spec_of, training_spec_of, validated
from rdrkd.errors import MachineError, Problem, SpecError
from rdrkd.figures import counted
from rdrkd.run_folder.names import RESOLVED, SPEC
from rdrkd.suffixes import archive_suffix
from rdrkd.suggestion import file_suggestion, nearest, suggestion

if TYPE_CHECKING:
    from rdrkd.client import Client, Job, Model

Reference = dict[str, Any]
WEIGHTS, ARCHITECTURE, DATASET = "a weights file", "an architecture", "a dataset"
RUN, ID = "a run folder", "an id of a service"
_OWNERS = {WEIGHTS: "--teacher or --student", ARCHITECTURE: "--student", DATASET: "--data"}
_OWNERS_OF_TRAINING = _OWNERS | {WEIGHTS: "--model", ARCHITECTURE: "--model"}
_FITTING = {
    "teacher": (WEIGHTS,),
    "student": (WEIGHTS, ARCHITECTURE),
    "model": (WEIGHTS, ARCHITECTURE),
    "data": (DATASET,),
}
_FORMS = " (folder, data YAML, zip or tar)"  # of a dataset
_JOB, _MODEL, _OTHERS = "job_", "mdl_", ("ds_", "stu_")  # prefixes of ids
_FAMILY, _MOST_OF_FAMILY = 4, 5  # characters of a family's name, such as `yolo`; architectures to suggest
_MOST_NAMES = 200  # newest rows of the service whose names are compared with an unknown one
# Stand-ins with which the other options are validated, whatever the inputs are.
_STUDENT, _TEACHER = {"architecture": "yolov8n"}, {"path": "teacher.pt"}


def local(options: Mapping[str, Any]) -> tuple[Reference, Reference]:
    """Return the references to teacher and student, without opening a file.

    Raises:
        SpecError: an input does not exist, or another option is refused; a problem for each.
    """
    teacher, student, *_ = gathered(
        partial(_local, "teacher", options),
        partial(_local, "student", options),
        partial(_existing_data, options),
        partial(_settings, options),
        partial(present, options.get("device")),
    )
    return teacher, student


def local_training(options: Mapping[str, Any]) -> Reference:
    """Return the reference to the model of a training, without opening a file.

    Raises:
        SpecError: an input does not exist, or another option is refused; a problem for each.
    """
    model, *_ = gathered(
        partial(_local, "model", options),
        partial(_existing_data, options),
        lambda: validated(training_spec_of(_STUDENT, str(options["data"]), options, _given(options))),
        partial(present, options.get("device")),
    )
    found: Reference = model
    return found


def on_service(options: Mapping[str, Any], service: "Client") -> tuple[Reference, Reference, str]:
    """Return the references to teacher, student and dataset; what the service has is referred to by its id.

    Raises:
        SpecError: there is no such input here or on the service, or another option is refused; a problem for each.
    """
    teacher, student, dataset, _ = gathered(
        partial(_model_on_service, "teacher", options, service),
        partial(_model_on_service, "student", options, service),
        partial(_dataset_on_service, options, service),
        partial(_settings, options),
    )
    return teacher, student, dataset


def gathered(*checks: Callable[[], Any]) -> list[Any]:
    """Run all checks, and return what they return.

    Raises:
        SpecError: checks refuse something; it has the problems of all of them.
    """
    found: list[Any] = []
    problems: list[Problem] = []
    for check in checks:
        try:
            found.append(check())
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(f"refused because of {counted(len(problems), 'option')}", problems)
    return found


def present(device: str | None) -> None:
    """Check that this machine has a device, which is its default if None.

    Raises:
        SpecError: it has not.
    """
    if device is not None:
        from rdrkd.process.devices import devices_of

        try:
            devices_of(device)
        except MachineError as error:
            raise SpecError.at("--device", str(error)) from error


def there(where: str, path: Path, expected: str) -> Path:
    """Return a path.

    Raises:
        SpecError: there is nothing at it.
    """
    if not path.exists():
        raise SpecError.at(where, f"expected {expected}, got nothing at {path}{file_suggestion(path)}")
    return path


def file_of(text: str) -> Reference | None:
    """Return the reference to a local weights file, or else to official weights of this name; None for neither."""
    from rdrkd import pretrained

    if Path(text).is_file():
        return {"path": text}
    name = pretrained.named(text)
    return None if name is None else {"architecture": name, "pretrained": True}


def kind_of(text: str) -> str | None:
    """Return which kind of input a text names, by its form alone; None if it may be a name or another file."""
    from rdrkd.spec import ARCHITECTURES

    path = Path(text)
    suffix = path.suffix.lower()
    if suffix in (".pt", ".safetensors"):
        return WEIGHTS
    if text.removesuffix(".yaml") in ARCHITECTURES and not path.exists():  # `yolov8n.yaml` is Ultralytics' form
        return ARCHITECTURE
    if (path / RESOLVED).is_file():
        return RUN
    if text.startswith((_JOB, _MODEL, *_OTHERS)) and not suffix and not path.exists():
        return ID
    is_dataset = archive_suffix(path.name) is not None or suffix in (".yaml", ".yml") or path.is_dir()
    return DATASET if is_dataset else None


def elsewhere(text: str, kind: str | None) -> str:
    """Return the end of a refusal of a run folder or of an id: where its files are, or which command takes it.

    It is empty for another kind of input.
    """
    if kind == ID:
        fetch = f", and `rdrkd jobs weights {text}` downloads a job's weights" if text.startswith(_JOB) else ""
        return f"; this command takes local files: `rdrkd jobs submit` takes ids{fetch}"
    if kind == RUN:
        weights, spec = Path(text) / "student.pt", Path(text) / SPEC
        whose = {"its weights are": weights, "its spec is": spec}
        return "".join(f"; {words} `{file}`" for words, file in whose.items() if file.is_file())
    return ""


def _local(option: str, options: Mapping[str, Any]) -> Reference:
    text = str(options[option])
    if (found := _network_of(option, text)) is not None:
        return found
    raise _refused(option, text, owners=_owners(options))


def _network_of(option: str, text: str) -> Reference | None:
    """Return the reference to an architecture, a weights file or official weights; None if a text names none."""
    from rdrkd.spec import ARCHITECTURES

    if option in ("student", "model") and text in ARCHITECTURES:
        return {"architecture": text}
    return None if kind_of(text) == DATASET else file_of(text)


def _existing_data(options: Mapping[str, Any]) -> str:
    text = str(options["data"])
    if not Path(text).exists() or kind_of(text) in (WEIGHTS, RUN):
        raise _refused("data", text, owners=_owners(options))
    return text


def _owners(options: Mapping[str, Any]) -> Mapping[str, str]:
    return _OWNERS_OF_TRAINING if "model" in options else _OWNERS


def _settings(options: Mapping[str, Any]) -> None:
    validated(spec_of(_TEACHER, _STUDENT, str(options["data"]), options, _given(options)))


def _given(options: Mapping[str, Any]) -> list[Choice]:
    """Return the settings that were given, which may be of any type; the others have their defaults."""
    return [Choice(name, options[name], "") for name in ("epochs", "imgsz", "batch", "baseline") if name in options]


def _model_on_service(option: str, options: Mapping[str, Any], service: "Client") -> Reference:
    from rdrkd.client import Refused

    text = str(options[option])
    if (found := _network_of(option, text)) is not None:
        return found
    if _looks_like_a_path(text):
        raise _refused(option, text, service=True)
    for kind, read, other in (("model", service.model, _JOB), ("job", service.job, _MODEL)):
        try:
            if not text.startswith(other):
                row: Model | Job = read(text)
                return {kind: row.id}
        except Refused as refused:
            if refused.code != "not_found":
                raise
    names = (model.name for model in islice(service.models(), _MOST_NAMES) if model.name)
    raise _refused(option, text, suggestion(text, names), service=True)


def _dataset_on_service(options: Mapping[str, Any], service: "Client") -> str:
    from rdrkd.client import Refused

    text = str(options["data"])
    if Path(text).exists() or _looks_like_a_path(text):
        return _existing_data(options)
    try:
        return service.dataset(text).id
    except Refused as refused:
        if refused.code != "not_found":
            raise
    names = (dataset.name for dataset in islice(service.datasets(), _MOST_NAMES) if dataset.name)
    raise _refused("data", text, suggestion(text, names), service=True)


def _refused(
    option: str, text: str, meant: str = "", service: bool = False, owners: Mapping[str, str] = _OWNERS
) -> SpecError:
    """Return the refusal of an option's value; it asks about a value that fits another option, or a similar name."""
    kind = kind_of(text)
    if kind == RUN or (kind == ID and not service):
        came = f"{text!r}, {kind}{elsewhere(text, kind)}"
    elif kind is not None and kind in owners and kind not in _FITTING[option]:
        came = f"{text!r}, {kind}: is it meant for {owners[kind]}?"
    else:
        absent = " (no such file)" if _looks_like_a_path(text) and not Path(text).exists() else ""
        came = f"{text!r}{absent}{meant or _meant(option, text)}"
    expected = " or ".join(_FITTING[option]) + (_FORMS if option == "data" else "")
    if service:
        expected += f", or a {'dataset' if option == 'data' else 'model or job'} of the service"
    return SpecError.at(f"--{option}", f"expected {expected}, got {came}")


def _meant(option: str, text: str) -> str:
    """Return the end of a refusal that asks about a similar file, architecture or name of official weights."""
    from rdrkd.spec import ARCHITECTURES
    from rdrkd.spec.references import OFFICIAL

    if meant := file_suggestion(text):
        return meant
    if option == "teacher":
        return suggestion(text, [f"{name}.pt" for name in OFFICIAL], cutoff=0.75)
    family = [name for name in ARCHITECTURES if name.startswith(text.lower())] if len(text) >= _FAMILY else []
    if option in ("student", "model") and family:
        return f"; did you mean one of {', '.join(family[:_MOST_OF_FAMILY])} (random weights)?"
    if option in ("student", "model") and (near := nearest(Path(text).stem, ARCHITECTURES)):
        return f"; did you mean `{near}` (random weights)?"
    return ""


def _looks_like_a_path(text: str) -> bool:
    return "/" in text or kind_of(text) in (WEIGHTS, DATASET)
