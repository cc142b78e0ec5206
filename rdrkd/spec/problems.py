"""Convert Pydantic's errors to a list of problems: the field's JSON pointer, what was expected and what was received.

Pydantic's locations also contain the names of the union members that it tried, and it lists the errors of every member;
here a pointer addresses the user's own JSON, and only the errors of the intended union member are listed.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeGuard

from pydantic import BaseModel, ValidationError

from rdrkd.errors import Problem
from rdrkd.spec.forms import words_of
from rdrkd.suggestion import nearest, suggestion

_Path = tuple[str | int, ...]
_OBJECT = ("model_type", "model_attributes_type", "dict_type")
_OURS = ("rdrkd.", "api.")
_SHOWN = 80  # characters to show of a value
_MOST = 100  # problems to list
_MOST_ERRORS = 10 * _MOST  # Pydantic errors to read: a union causes several, and every value may cause one
_MOST_SUGGESTED = 40  # problems with a suggestion, the least nested ones: finding a similar name takes 0.2 to 0.5 ms
_CHOICES = {"enum": "expected", "literal_error": "expected", "union_tag_invalid": "expected_tags"}  # kind -> its list


class _Located(NamedTuple):
    error: Mapping[str, Any]
    path: _Path  # path in the user's JSON
    member: tuple[_Path, str] | None  # the union's path, and the name of its member that has this error


def problems_of(error: ValidationError, data: Any) -> list[Problem]:
    """List the problems of `data`.

    >>> from rdrkd.spec import JOB_SPEC
    >>> data = {"kind": "train", "dataset": "d", "model": {"architecture": "yolov8n"}, "train": {"epochs": 0}}
    >>> try:
    ...     spec = JOB_SPEC.validate_python(data)
    ... except ValidationError as error:
    ...     print(problems_of(error, data))
    [Problem(where='/train/epochs', detail='expected a value greater than or equal to 1, got 0')]
    """
    return problems_of_errors(error.errors(include_url=False), data)


def problems_of_errors(errors: Sequence[Mapping[str, Any]], data: Any) -> list[Problem]:
    """Convert Pydantic's error dicts, whose locations start at `data`, to the first problems.

    The cost is bounded, because clients may send bodies in which every value is wrong.
    """
    located = [_locate(error, data) for error in errors[:_MOST_ERRORS] if not _consequence(error)]
    members = {entry.member for entry in located if entry.member}
    # A member was not intended if its own field is missing, or if it is an object and the value is not.
    unfit = {entry.member for entry in located if entry.error["type"] in ("missing", *_OBJECT)}
    hopeless = {place for place, _ in members} - {place for place, _ in members - unfit}
    suggested = _to_be_suggested([entry for entry in located if entry.member is None or entry.member not in unfit])
    problems: list[Problem] = []
    for entry in located:
        if len(problems) == _MOST:
            break
        if entry.member is None or entry.member not in unfit:
            beside = _beside(entry, data) if id(entry) in suggested else None
            form = _form(entry.path, entry.error)
            problems.append(Problem(_pointer(entry), f"{sentence(entry.error, beside)}{form}"))
        elif entry.member[0] in hopeless:
            hopeless.remove(entry.member[0])
            problems.append(_no_member_fits(entry.member[0], located, data))
    return problems


def _to_be_suggested(located: Sequence[_Located]) -> set[int]:
    """Return the ids of the entries that may get a suggestion; Pydantic lists unknown fields of the top level last."""
    names = [entry for entry in located[:_MOST] if entry.error["type"] in ("extra_forbidden", *_CHOICES)]
    return {id(entry) for entry in sorted(names, key=lambda entry: len(entry.path))[:_MOST_SUGGESTED]}


def _consequence(error: Mapping[str, Any]) -> bool:
    """Return whether a list counts as too short only because each of its items is invalid."""
    came = error.get("input")
    return error["type"] == "too_short" and isinstance(came, list) and len(came) >= error["ctx"]["min_length"]


def _locate(error: Mapping[str, Any], data: Any) -> _Located:
    """Follow an error's location through the user's JSON; steps that do not exist there are names of union members."""
    path: list[str | int] = []
    member = None
    node = data
    location = error["loc"]
    for depth, step in enumerate(location):
        if isinstance(node, Mapping) and depth == 0 and step == node.get("kind"):
            continue  # the tag of the job spec's own union; `train` is also a field
        if (isinstance(node, Mapping) and step in node) or (isinstance(node, list | tuple) and isinstance(step, int)):
            path.append(step)
            node = node[step]
        elif error["type"] == "missing" and depth == len(location) - 1:
            path.append(step)
        elif step != "[key]" and not (isinstance(node, Mapping) and step == node.get("name")):
            member = (tuple(path), str(step))
    return _Located(error, tuple(path), member)


def _pointer(entry: _Located) -> str:
    path = entry.path
    if entry.error["type"].startswith("union_tag"):
        path = (*path, entry.error["ctx"]["discriminator"].strip("'"))
    return _as_pointer(path)


def _as_pointer(path: _Path) -> str:
    """Write a path as a JSON pointer (RFC 6901).

    >>> _as_pointer(("distillation", "losses", 0, "a/b"))
    '/distillation/losses/0/a~1b'
    """
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _beside(entry: _Located, data: Any) -> frozenset[str]:
    """Return the names of the fields beside the one that has the error."""
    node = data
    for step in entry.path[:-1]:
        node = node[step]
    return frozenset(map(str, node)) if isinstance(node, Mapping) else frozenset()


def sentence(error: Mapping[str, Any], beside: frozenset[str] | None = frozenset()) -> str:
    """Return a sentence on what was expected and what was received.

    Args:
        error: one of Pydantic's error dicts.
        beside: names of the other fields of the same object, for suggestions; None: make no suggestions.
    """
    kind, context, came = error["type"], error.get("ctx", {}), error.get("input")
    if kind == "missing":
        return "expected this field, got nothing"
    if kind == "extra_forbidden":
        name = str(error["loc"][-1])
        return f"unknown field `{name[:_SHOWN]}`{'' if beside is None else _suggestion(name, beside)}"
    if kind == "string_pattern_mismatch":
        return f"expected {words_of(context['pattern'])}, got {_short(came)}"
    if kind in _CHOICES:
        return _no_choice(context[_CHOICES[kind]], context.get("tag", came), beside is not None)
    if kind == "union_tag_not_found":
        if not isinstance(came, Mapping):
            return f"expected an object, got {_short(came)}"
        near = nearest(context["discriminator"].strip("'"), map(str, list(came)[:_MOST]), cutoff=0.75)
        return f"expected this field, got {'nothing' if near is None else f'`{near}`'}"
    if kind == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    if kind in _OBJECT:
        return f"expected an object, got {_short(came)}"
    near = ""
    if kind == "multiple_of" and isinstance(came, int | float) and came > 0:
        near = f", such as {max(1, round(came / context['multiple_of'])) * context['multiple_of']:g}"
    return f"{_expectation(error['msg'])}{near}, got {_short(came)}"


def _no_choice(choices: str, came: Any, suggests: bool) -> str:
    """Return the sentence on a value that is none of the choices, which Pydantic lists in quotes.

    >>> _no_choice("'train', 'val' or 'test'", "trian", True)
    "expected one of 'train', 'val' or 'test', got 'trian'; did you mean `train`?"
    """
    names = re.findall(r"'([^']*)'", choices)
    meant = suggestion(came, names) if suggests and isinstance(came, str) else ""
    return f"expected {'one of ' if names else ''}{choices}, got {_short(came)}{meant}"


def _suggestion(name: str, beside: frozenset[str]) -> str:
    """Return the suggestion for an unknown field whose name is similar to an existing one.

    >>> _suggestion("epoch", frozenset({"epoch", "imgsz"})), _suggestion("colour", frozenset())
    ('; did you mean `epochs`?', '')
    """
    # The error does not name the intended object, so first try the one that has most of the other fields.
    models = _fields_of_models()
    if "kind" in beside and (nested := _nested(name)):
        return f"; did you mean `{nested}`?"
    for shared in sorted({len(fields & beside) for fields in models}, reverse=True):
        alike = frozenset().union(*(fields for fields in models if len(fields & beside) == shared))
        if found := suggestion(name, alike - beside, cutoff=0.75):
            return found
    return ""


def _nested(name: str) -> str | None:
    """Return the field of a job's spec that a name at its top level was meant to be, if it lies deeper."""
    from rdrkd.spec.training import TrainSettings

    if name == "data":  # Ultralytics' word
        return "dataset"
    meant = nearest(name, TrainSettings.model_fields, cutoff=0.85)
    return None if meant is None else f"train.{meant}"


@cache
def _fields_of_models() -> tuple[frozenset[str], ...]:
    """Return the field names of each of this project's models that refuse unknown fields."""
    found: set[frozenset[str]] = set()
    waiting: list[type[BaseModel]] = [BaseModel]
    while waiting:
        waiting += (model := waiting.pop()).__subclasses__()
        if model.__module__.startswith(_OURS) and model.model_config.get("extra") == "forbid":
            found.add(frozenset(model.model_fields))
    return tuple(sorted(found, key=sorted))


def _expectation(message: str) -> str:
    """Rewrite Pydantic's sentence as an expectation.

    >>> _expectation("Input should be a multiple of 32"), _expectation("String should have at least 1 character")
    ('expected a multiple of 32', 'expected a string with at least 1 character')
    """
    message = message.split(", unable to")[0]
    for pattern, words in (
        (r"^Input should be (greater|less)", r"expected a value \1"),
        (r"^Input should be ", "expected "),
        (r"^String should have ", "expected a string with "),
        (r"^(?:Tuple|List|Dictionary) should have (at (?:least|most) \d+ items?).*", r"expected \1"),
    ):
        message, hits = re.subn(pattern, words, message)
        if hits:
            return message
    return f"expected otherwise: {message}"


def _no_member_fits(place: _Path, located: Sequence[_Located], data: Any) -> Problem:
    """Describe a value that fits no member of its union."""
    node = data
    for step in place:
        node = node[step]
    if not isinstance(node, Mapping):
        form = _form(place, {"type": "model_type", "input": node})
        return Problem(_as_pointer(place), f"expected an object, got {_short(node)}{form}")
    fields: dict[str, list[str]] = {}  # missing fields by union member
    for entry in located:
        if entry.member and entry.member[0] == place and entry.error["type"] == "missing":
            fields.setdefault(entry.member[1], []).append(str(entry.path[-1]))
    expected = ", ".join(f"{{{', '.join(lacking)}}}" for lacking in fields.values())
    return Problem(_as_pointer(place), f"expected one of {expected}, got {{{', '.join(map(str, node))}}}")


def _form(path: _Path, error: Mapping[str, Any]) -> str:
    """Return the end of a refusal of a text in place of an object, or the other way round: how to write it.

    >>> _form(("teacher",), {"type": "model_type", "input": "../l.pt"})
    ': write {path: ../l.pt}'
    >>> _form(("distillation",), {"type": "model_type", "input": "rdr-kd"})
    ': write {preset: rdr-kd}'
    >>> _form(("dataset",), {"type": "string_type", "input": {"path": "x.zip"}})
    ': write x.zip, or on the service the id of a dataset'
    """
    from rdrkd.spec.references import ARCHITECTURES

    name, came = path[-1] if path else "", error.get("input")
    if name == "dataset" and error["type"] == "string_type" and isinstance(came, Mapping) and len(came) == 1:
        came = next(iter(came.values()))
        return f": write {came}, or on the service the id of a dataset" if _is_plain(came) else ""
    if error["type"] not in _OBJECT or not _is_plain(came):
        return ""
    if name == "distillation":
        return f": write {{preset: {came}}}"
    if name not in ("teacher", "student", "model"):
        return ""
    field = "architecture" if came in ARCHITECTURES else "model" if came.startswith("mdl_") else "path"
    return f": write {{{field}: {came}}}"


def _is_plain(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) <= _SHOWN and value.isprintable()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
