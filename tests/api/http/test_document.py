"""docs/openapi.json is one that other people's generators and linters take whole: the rules that they hold it to."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rdrkd.spec.forms import words_of

DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parents[3] / "docs" / "openapi.json").read_text())
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
METHODS = {"get", "put", "post", "patch", "delete", "head", "options"}
OPERATIONS = [
    operation for item in DOCUMENT["paths"].values() for method, operation in item.items() if method in METHODS
]


def parts(node: Any, pointer: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object of a document with its JSON pointer."""
    children = enumerate(node) if isinstance(node, list) else node.items() if isinstance(node, dict) else ()
    if isinstance(node, dict):
        yield pointer, node
    for key, child in children:
        yield from parts(child, f"{pointer}/{key}")


def test_no_enumeration_mixes_types() -> None:
    """A generator drops such a schema, and with it every endpoint that refers to it."""
    enums = {pointer: part["enum"] for pointer, part in parts(DOCUMENT) if isinstance(part.get("enum"), list)}
    assert enums
    assert {pointer: values for pointer, values in enums.items() if len({type(value) for value in values}) > 1} == {}


def test_each_discriminator_is_required_where_it_is_read() -> None:
    unions = [part for _, part in parts(DOCUMENT) if "discriminator" in part]
    assert unions
    for union in unions:
        name = union["discriminator"]["propertyName"]
        for reference in union["discriminator"]["mapping"].values():
            assert name in SCHEMAS[reference.rpartition("/")[2]]["required"], reference


def test_schema_names_stay_apart_without_their_modules() -> None:
    assert [name for name in SCHEMAS if "__" in name] == []
    titles = [schema.get("title", name) for name, schema in SCHEMAS.items()]
    assert sorted({title for title in titles if titles.count(title) > 1}) == []


def test_every_required_property_is_defined_beside_it() -> None:
    for pointer, part in parts(DOCUMENT):
        if isinstance(part.get("required"), list):
            assert set(part["required"]) <= set(part.get("properties", ())), pointer


def test_the_document_says_where_the_service_is() -> None:
    assert DOCUMENT["servers"] == [{"url": "/", "description": "the service that serves this document"}]


def test_every_operation_says_who_may_call_it() -> None:
    assert OPERATIONS
    for operation in OPERATIONS:
        assert operation["security"] in ([], [{"key": []}]), operation["operationId"]
        assert operation["summary"], operation["operationId"]


def test_every_pattern_is_told_in_words() -> None:
    found = {part["pattern"] for _, part in parts(DOCUMENT) if isinstance(part.get("pattern"), str)}
    unknown = {pattern for pattern in found if words_of(pattern) == words_of("")}
    assert unknown == {r"^[\x20-\x7e]{1,255}$"}, "the Idempotency-Key has a check and words of its own"
