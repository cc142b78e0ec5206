"""Links of the OpenAPI document: from responses with an id to the operations that take it."""

import re
from typing import Any

Paths = dict[str, dict[str, Any]]
_ITEM = re.compile(r".*/\{(\w+)\}")
_METHODS = ("get", "put", "post", "delete", "head", "patch")


def add_links(paths: Paths) -> None:
    """Link each operation that returns a new resource to all operations on that resource."""
    items = [path for path in paths if _ITEM.fullmatch(path) and _schema(paths[path].get("get"))]
    shown = {_schema(paths[path]["get"]): path for path in items}
    made = {path.rpartition("/")[0]: path for path in items}  # for collections whose responses also hold a secret
    for path, operations in paths.items():
        if "post" in operations:
            item = shown.get(_schema(operations["post"]), made.get(path))
            if item is not None and not path.startswith(item):
                _answer(operations["post"])["links"] = _links(paths, item)


def _links(paths: Paths, item: str) -> Paths:
    parameter = _parameter(item)
    return {
        operation["operationId"]: {
            "operationId": operation["operationId"],
            "parameters": {parameter: "$response.body#/id"},
        }
        for path, operations in paths.items()
        if path == item or path.startswith(f"{item}/")
        for operation in (operations[method] for method in _METHODS if method in operations)
    }


def _parameter(item: str) -> str:
    match = _ITEM.fullmatch(item)
    assert match is not None
    return match[1]


def _answer(operation: dict[str, Any]) -> dict[str, Any]:
    """Return the response of the first success."""
    responses: dict[str, dict[str, Any]] = operation["responses"]
    return responses[min(status for status in responses if status.startswith("2"))]


def _schema(operation: dict[str, Any] | None) -> str | None:
    """Return the name of an operation's response schema."""
    if operation is None:
        return None
    content = _answer(operation).get("content", {}).get("application/json", {})
    reference: str | None = content.get("schema", {}).get("$ref")
    return reference
