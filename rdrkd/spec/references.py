"""References to models and datasets: by id, by another job, by architecture, or (command line) by path."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from rdrkd.spec.forms import form

FAMILIES = {
    "yolov8": [f"yolov8{s}" for s in "nsmlx"],
    "yolov8-p2": [f"yolov8{s}-p2" for s in "nsmlx"],
    "yolo11": [f"yolo11{s}" for s in "nsmlx"],
    "yolo26": [f"yolo26{s}" for s in "nsmlx"],
}
# YOLOv8n at half its width (0.125): a student for the smallest boards and for CPU demonstrations.
NARROW = "yolov8n-half"
ARCHITECTURES: tuple[str, ...] = (*(name for names in FAMILIES.values() for name in names), NARROW)

# Architectures with official weights by Ultralytics.
OFFICIAL: tuple[str, ...] = tuple(name for family in ("yolov8", "yolo11", "yolo26") for name in FAMILIES[family])

_LAYERS = {"yolov8": 23, "yolov8-p2": 29, "yolo11": 24, "yolo26": 24}  # layers by family, including the head


def layers_of(architecture: str) -> int:
    """Return the number of layers of a network of the allow-list, as `freeze` counts them.

    >>> layers_of("yolov8s-p2"), layers_of("yolov8n-half")
    (29, 23)
    """
    family = next((family for family, names in FAMILIES.items() if architecture in names), "yolov8")
    return _LAYERS[family]


# No control characters: PostgreSQL can neither store nor compare a NUL, and names are shown to people.
TEXT = form(r"^[^\x00-\x1f\x7f]*$", "a text without line breaks and other control characters")
MODEL_ID = form(r"^mdl_[0-9a-f]{32}$", "a model's id, `mdl_` and 32 hexadecimal digits")
SHA256 = form(r"^[0-9a-f]{64}$", "a SHA-256, 64 hexadecimal digits in lower case")
# It begins with a letter, so that it cannot be a version number.
ALIAS = form(
    r"^[a-z][a-z0-9._-]{0,63}$",
    "an alias: a lower-case letter, then up to 63 of lower-case letters, digits, `.`, `_` and `-`",
)
DATASET_ID = form(r"^ds_[0-9a-f]{32}$", "a dataset's id, `ds_` and 32 hexadecimal digits")
JOB_ID = form(r"^job_[0-9a-f]{32}$", "a job's id, `job_` and 32 hexadecimal digits")
STUDY_ID = form(r"^stu_[0-9a-f]{32}$", "a study's id, `stu_` and 32 hexadecimal digits")


class _Reference(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RegisteredModel(_Reference):
    """A model of the service."""

    model: str = Field(
        min_length=1,
        max_length=300,
        pattern=TEXT,
        description="a registered model: its id `mdl_...` or a unique prefix of it, `<name>@<alias>`, "
        "`<name>@<version>`, or `<name>` for its newest version. The service resolves it to an id on submission",
    )


class JobOutput(_Reference):
    """The weights of another job; a job that refers to it waits for it."""

    job: str = Field(
        min_length=1,
        max_length=300,
        pattern=TEXT,
        description="a job: its id `job_...` or a unique prefix of it, or a name that no other job has. The "
        "service resolves it to an id on submission",
    )


class LocalModel(_Reference):
    """A local weights file. Only the command line accepts it; the service refuses it."""

    path: str = Field(min_length=1, description="path of a `.pt` or `.safetensors` file (command line only)")


class Architecture(_Reference):
    """A network from the allow-list, with random weights."""

    architecture: Literal[ARCHITECTURES] = Field(description="name from the allow-list")  # type: ignore[valid-type]


class Pretrained(_Reference):
    """A network with Ultralytics' official weights, which detect COCO's 80 classes."""

    architecture: Literal[OFFICIAL] = Field(description="name of official weights")  # type: ignore[valid-type]
    pretrained: Literal[True] = Field(
        description="use official weights, which the machine that runs the job downloads or finds in a folder"
    )


def _flat(value: Any) -> Any:
    """Normalise `{model: {job: ...}}`, the form of a study's teacher, and `pretrained: false`.

    Raises:
        ValueError: there are no such official weights; the union's own error would list what every member lacks.
    """
    nested = isinstance(value, dict) and set(value) == {"model"} and isinstance(value["model"], dict)
    value = value["model"] if nested else value
    if not isinstance(value, dict) or set(value) != {"architecture", "pretrained"}:
        return value
    if value["pretrained"] is False:
        return {"architecture": value["architecture"]}
    if value["pretrained"] is not True:
        raise ValueError(f"expected pretrained to be true or false, got {value['pretrained']!r}")
    if value["architecture"] not in OFFICIAL:
        came = str(value["architecture"])[:80]
        raise ValueError(f"expected official weights, of which there are {', '.join(OFFICIAL)}, got {came!r}")
    return value


WeightsRef = Annotated[
    RegisteredModel | JobOutput | LocalModel | Pretrained,
    BeforeValidator(_flat),
    Field(
        description="a model with weights: `{model}`, `{job}`, official ones by `{architecture, pretrained: true}`, or "
        "`{path}` on the command line"
    ),
]
ModelRef = Annotated[
    RegisteredModel | JobOutput | LocalModel | Architecture | Pretrained,
    BeforeValidator(_flat),
    Field(
        description="`{architecture}` for random weights, or initial weights: `{architecture, pretrained: true}`, "
        "`{model}`, `{job}`, `{path}`"
    ),
]
DatasetRef = Annotated[
    str,
    Field(
        min_length=1,
        max_length=4096,
        pattern=TEXT,
        description="dataset: id `ds_...` or a unique prefix of it, name or `name@version`; on the command line a path",
    ),
]
