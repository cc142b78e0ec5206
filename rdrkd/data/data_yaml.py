"""The data YAML of a dataset in YOLO layout: found, parsed as plain data, and validated; never executed."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rdrkd.data.names import composed
from rdrkd.data.remedies import DATA_YAML
from rdrkd.data.text_files import text_of
from rdrkd.errors import DatasetError, Problem
from rdrkd.file_signatures import head_of, placeholder
from rdrkd.suggestion import nearest

SPLITS = ("train", "val", "test")
_NAMES = ("data", "dataset")  # stems of data YAMLs
_MAX_YAML_BYTES = 1 << 20
_MAX_CLASSES = 10_000
_MAX_PATH = 4096
_POSES = "kpt_shape"  # the key by which Ultralytics knows a dataset of poses
_ALIKE = 0.75  # similarity from which an unknown key is a mistyped one
_MOST_OTHERS = 100  # unknown keys that are looked at
_MOST_IGNORED = 20  # of them that are named in a warning
_INVISIBLE = dict.fromkeys((0xA0, 0x200C, 0x200D))  # parts of words in Persian, Hindi and of emoji
# Further fields that export tools write; accepted and ignored.
_REMARKS = ("author", "date", "description", "license", "links", "roboflow", "task", "url", "version")


class DataYaml(BaseModel):
    """The fields of a data YAML that are read; `ignored` are the names of others, such as `download`, never run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(".", max_length=4096, description="root of the dataset, relative to the YAML")
    train: tuple[str, ...] = Field(
        (), description="folder of training images, or a text file that lists them, or several"
    )
    val: tuple[str, ...] = Field((), description="as `train`, of validation images")
    test: tuple[str, ...] = Field((), description="as `train`, of test images")
    nc: int | None = Field(None, description="number of classes; must agree with `names`")
    names: tuple[str, ...] = Field(min_length=1, max_length=_MAX_CLASSES, description="class names by class number")
    ignored: tuple[str, ...] = Field((), exclude=True)

    @field_validator("path", mode="before")
    @classmethod
    def _no_path(cls, value: Any) -> Any:
        return "." if value is None else value

    @field_validator(*SPLITS, mode="before")
    @classmethod
    def _places(cls, value: Any) -> Any:
        places = value if isinstance(value, list) else [] if value is None else [value]
        for place in places:
            if not isinstance(place, str) or len(place) > _MAX_PATH:
                raise ValueError(f"expected the path of a folder or list as a string, got {_kind(place)}")
        return tuple(place for place in places if place)

    @field_validator("path", *SPLITS)
    @classmethod
    def _paths_of_a_disk(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for place in (value,) if isinstance(value, str) else value:
            if "\0" in place or any(len(part.encode()) > 255 for part in place.split("/")):
                raise ValueError(f"expected a path without NUL, of parts of at most 255 bytes, got {place[:100]!r}")
        return value

    @field_validator("names", mode="before")
    @classmethod
    def _by_number(cls, value: Any) -> Any:
        names = _in_order(value) if isinstance(value, dict) else value
        if not isinstance(names, list):
            raise ValueError(f"expected a list of names, or a mapping from class number to name, got {_kind(value)}")
        for number, name in enumerate(names):
            if isinstance(name, bool) or not isinstance(name, str | int):
                raise ValueError(f"expected text for class {number}, got {_kind(name)} (quote it in the YAML)")
        return tuple(composed(str(name)).strip() for name in names)

    @field_validator("names")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for number, name in enumerate(names):
            if not (0 < len(name) <= 100 and name.translate(_INVISIBLE).isprintable()):
                raise ValueError(f"expected 1 to 100 printable characters for class {number}, got {name[:100]!r}")
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise ValueError(f"expected distinct names, got {twice[:5]} more than once")
        return names

    @model_validator(mode="after")
    def _count(self) -> "DataYaml":
        if self.nc is not None and self.nc != len(self.names):
            raise ValueError(f"expected as many names as nc says ({self.nc}), got {len(self.names)}")
        return self


_KEYS = tuple(key for key in DataYaml.model_fields if key != "ignored")


class _PlainLoader(yaml.SafeLoader):
    """safe_load without aliases, with which a small file could expand to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not accepted")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        known: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in known:
                    raise yaml.YAMLError(f"the key {key.value[:100]!r} more than once")
                known.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def find_yaml(folder: Path) -> Path:
    """Find the data YAML: among those with a dataset's keys, the one nearest the top; `data` or `dataset` first.

    Raises:
        DatasetError: there is none, or several at the same depth.
    """
    found = yamls(folder)
    alike = [p for p in found if is_data_yaml(p)]
    # If none has the keys, report the one that is named like a data YAML, or the only one.
    named = [p for p in found if p.stem in _NAMES]
    candidates = alike or named or found
    depth = min((len(p.parts) for p in candidates), default=0)
    nearest = sorted(p for p in candidates if len(p.parts) == depth)
    preferred = [p for p in nearest if p.stem in _NAMES]
    chosen = preferred if len(preferred) == 1 else nearest
    if len(chosen) != 1:
        came = ", ".join(str(p.relative_to(folder)) for p in chosen[:5]) or "none"
        raise DatasetError(f"expected one data.yaml with `train`, `val` and `names`, got {came}", advice=DATA_YAML)
    return chosen[0]


def yamls(folder: Path) -> list[Path]:
    """Return the visible YAML files under a folder."""
    return [p for p in folder.rglob("*") if p.suffix.lower() in (".yaml", ".yml") and not p.name.startswith(".")]


def is_data_yaml(file: Path) -> bool:
    """Return whether a file is YAML with class names and at least one split, or named like one and broken.

    Other tools' settings never have both.
    """
    try:
        content = _parse(file)
    except DatasetError:
        return file.stem in _NAMES  # broken: to read the folder in another layout would ignore what it says
    return "names" in content and any(split in content for split in SPLITS)


def names_in(file: Path) -> tuple[str, ...] | None:
    """Return the class names of a YAML with classes but no split; None for any other."""
    try:
        content = _parse(file)
        return checked_names(
            _in_order(content["names"]) if isinstance(content["names"], dict) else content["names"], ""
        )
    except (DatasetError, KeyError, TypeError, ValueError):
        return None


def read_yaml(file: Path) -> DataYaml:
    """Read the fields of a data YAML, in the same way for a local file and in an upload.

    Ultralytics and others define further keys, which say nothing about boxes and are ignored, except for poses. A key
    that is similar to a missing one is a mistyped one: to ignore it would lose a split without a word.

    Raises:
        DatasetError: fields are invalid, or their keys mistyped; with a problem for each.
    """
    content = _parse(file)
    known = {key: value for key, value in content.items() if key in _KEYS or key == _POSES}
    others = [key if isinstance(key, str) else str(key)[:100] for key in content if key not in known][:_MOST_OTHERS]
    missing = [key for key in _KEYS if content.get(key) is None]
    meant = {key: near for key in others if (near := nearest(key, missing, _ALIKE)) is not None}
    mistyped = [
        Problem(f"{file.name}: {_shown(key)}", f"unknown key; did you mean `{near}`?") for key, near in meant.items()
    ]
    ignored = tuple(_shown(key) for key in others if key not in meant)[:_MOST_IGNORED]
    try:
        data = _validate(known | {"ignored": ignored}, file)
    except DatasetError as error:
        renamed = {f"{file.name}: {near}" for near in meant.values()}  # not missing, only mistyped
        raise refused([*mistyped, *(one for one in error.problems if one.where not in renamed)]) from error
    if mistyped:
        raise refused(mistyped)
    return data


def checked_names(names: Sequence[Any], where: str) -> tuple[str, ...]:
    """Check class names like those of a data YAML.

    Raises:
        DatasetError: they are invalid; the problem is at `where`.
    """
    try:
        return DataYaml.model_validate({"names": list(names)}).names
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        raise refused([Problem(where, fault["msg"].removeprefix("Value error, "))]) from error


def write_yaml(file: Path, names: Sequence[str], splits: Sequence[str]) -> None:
    """Write the data YAML of a dataset whose images are in `images/<split>` beside it."""
    content = {"path": ".", **{split: f"images/{split}" for split in splits}, "names": dict(enumerate(names))}
    file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _parse(file: Path) -> dict[Any, Any]:
    size = file.stat().st_size
    if size > _MAX_YAML_BYTES:
        raise DatasetError(f"{file.name}: expected at most {_MAX_YAML_BYTES} bytes, got {size}")
    try:
        content = yaml.load(text_of(file), Loader=_PlainLoader)  # noqa: S506 (a SafeLoader)
    except Exception as error:  # PyYAML can raise almost anything, as for a tag such as !!bool on another value
        came = placeholder(head_of(file)) or str(error)[:300]
        raise refused([Problem(file.name, f"expected plain YAML in UTF-8 or UTF-16, got: {came}")]) from error
    if not isinstance(content, dict):
        came = placeholder(head_of(file)) or _kind(content)
        raise refused([Problem(file.name, f"expected a mapping with train, val and names, got {came}")])
    for word in ("validation", "valid"):  # as Ultralytics and others write it
        if word in content and content.get("val") is None:
            content["val"] = content.pop(word)
    return {key: value for key, value in content.items() if key not in _REMARKS}


def _validate(content: dict[str, Any], file: Path) -> DataYaml:
    try:
        return DataYaml.model_validate(content)
    except ValidationError as error:
        problems = []
        # Without the input, which is untrusted and of any size.
        for fault in error.errors(include_input=False, include_url=False)[:100]:
            field = ascii(fault["loc"][0]).strip("'")[:100] if fault["loc"] else "nc"
            problems.append(Problem(f"{file.name}: {field}", _detail(field, fault["type"], fault["msg"])))
        raise refused(problems) from error


def _detail(field: str, kind: str, message: str) -> str:
    if field == _POSES:
        return "expected boxes or polygons, got labels of poses: export the dataset for detection"
    if kind == "missing":
        return f"expected `{field}`, got nothing"
    message = message.removeprefix("Value error, ")
    return message if message.startswith("expected") else f"expected a value that can be used, got another: {message}"


def _in_order(names: dict[Any, Any]) -> list[Any]:
    """Convert {class number: name} to a list; the numbers are the model's outputs, so gaps are refused."""
    if not all(re.fullmatch(r"\d{1,9}", str(key)) for key in names):
        strange = next(key for key in names if not re.fullmatch(r"\d{1,9}", str(key)))
        turned = "; are name and number swapped?" if isinstance(names[strange], int) else ""
        raise ValueError(f"expected class numbers as the keys, such as `0: person`, got {str(strange)[:100]!r}{turned}")
    by_number = {int(key): name for key, name in names.items()}
    if missing := [number for number in range(len(names)) if number not in by_number]:
        raise ValueError(
            f"expected the class numbers 0 to {len(names) - 1} for {len(names)} names, without a gap, "
            f"got numbers up to {max(by_number)} where {', '.join(map(str, missing[:10]))} "
            f"{'is' if len(missing) == 1 else 'are'} missing; number the classes anew, in the labels, too"
        )
    return [by_number[number] for number in range(len(names))]


def _shown(key: str) -> str:
    return ascii(key[:100])[1:-1]


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def refused(problems: Sequence[Problem]) -> DatasetError:
    """Return the error that refuses a dataset with these problems."""
    return DatasetError(f"{problems[0].where}: {problems[0].detail}", problems)
