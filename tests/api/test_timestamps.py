"""Tests for `api.timestamps`."""

import importlib
import json
import pkgutil
import typing
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import BaseModel

import api
from api.timestamps import rfc3339

SET_BY_USERS = {
    ("JobView", "deadline"),
    ("JobDetail", "deadline"),
    ("KeyView", "expires_at"),
    ("NewKeyView", "expires_at"),
}
WHOLE_SECOND = datetime(2026, 11, 29, 16, 52, 12, tzinfo=UTC)


def test_texts_sort_as_the_times_do() -> None:
    times = [WHOLE_SECOND + timedelta(microseconds=step) for step in (0, 1, 207_000, 999_999, 1_000_000)]
    texts = [rfc3339(time) for time in times]
    assert texts == sorted(texts)
    assert [datetime.fromisoformat(text) for text in texts] == times
    assert len({len(text) for text in texts}) == 1


def test_is_in_utc() -> None:
    assert rfc3339(WHOLE_SECOND.astimezone(timezone(timedelta(hours=2)))) == "2026-11-29T16:52:12.000000Z"


def _times() -> list[tuple[type[BaseModel], str]]:
    """Return each field of a response that holds a time."""
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(api.__path__, "api.")
        if module.name.endswith("schemas")
    ]
    models = {
        model
        for module in modules
        for model in vars(module).values()
        if isinstance(model, type) and issubclass(model, BaseModel) and model.model_config.get("extra") != "forbid"
    }
    return sorted(
        (
            (model, name)
            for model in models
            for name, field in model.model_fields.items()
            if _is_time(field.annotation) and (model.__name__, name) not in SET_BY_USERS
        ),
        key=str,
    )


def _is_time(annotation: object) -> bool:
    return annotation is datetime or any(_is_time(inner) for inner in typing.get_args(annotation))


@pytest.mark.parametrize(("model", "name"), _times(), ids=lambda value: getattr(value, "__name__", value))
def test_every_response_writes_its_times_so(model: type[BaseModel], name: str) -> None:
    written = json.loads(model.model_construct(**{name: WHOLE_SECOND}).model_dump_json())
    assert written[name] == "2026-11-29T16:52:12.000000Z"


def test_there_are_such_fields() -> None:
    assert len(_times()) > 25
