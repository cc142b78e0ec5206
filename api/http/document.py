"""The OpenAPI document: FastAPI's, with our error format and the guard's errors in every operation."""

import json
from typing import Any

from fastapi import FastAPI
from starlette.routing import compile_path

from api.caller import Scope, needed
from api.errors import ApiError, InsufficientScope, ProblemDocument, RateLimited
from api.http.dependencies import refusals
from api.http.links import add_links

# The guard checks it before FastAPI sees the request: as a dependency it would only cost each of them time.
BEARER = {"type": "http", "description": "an API key, or the service's token", "scheme": "bearer"}


def document(app: FastAPI) -> dict[str, Any]:
    """Return the app's document."""
    if app.openapi_schema is None:
        made = FastAPI.openapi(app)
        schemas = made["components"]["schemas"]
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        problem = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= problem.pop("$defs") | {"ProblemDocument": problem}
        made["paths"] = dict(sorted(made["paths"].items()))  # not by how often a path is requested, as the routes are
        made["servers"] = [{"url": "/", "description": "the service that serves this document"}]
        made["components"]["securitySchemes"] = {"key": BEARER}
        for path, methods in made["paths"].items():
            for method, operation in methods.items():
                operation["security"] = [{"key": []}] if path.startswith("/v1/") else []
                _complete(operation["responses"], method.upper(), path)
                for parameter in operation.get("parameters", ()):
                    parameter["schema"] = _not_null(parameter["schema"])
        add_links(made["paths"])
    return app.openapi_schema or {}


def _complete(responses: dict[str, Any], method: str, path: str) -> None:
    if "HTTPValidationError" in json.dumps(responses.get("422")):
        del responses["422"]  # FastAPI's guess wherever there is a parameter
    if path.startswith("/v1/"):
        for error in _guarded(method, path):
            _add(responses, error)


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter's schema without null: it may be missing, but no text in a URL is null."""
    kinds: list[dict[str, Any]] = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return kinds[0] | {key: value for key, value in schema.items() if key != "anyOf"}


def _guarded(method: str, path: str) -> list[type[ApiError]]:
    """Return the guard's errors for an operation, besides those common to all."""
    return [RateLimited, *([InsufficientScope] if needed(method, path) != Scope.READ else [])]


def _add(responses: dict[str, Any], error: type[ApiError]) -> None:
    """Add an error to those of its status: a route's responses replace its router's of the same status."""
    documented = refusals(error)[error.status]
    there = responses.setdefault(str(error.status), documented)
    if f"`{error.code}`" not in there["description"]:
        there["description"] += f"; `{error.code}`: {error.title}"


def methods_of(app: FastAPI, path: str) -> list[str]:
    """Return the methods of an address in the document; a fixed address takes precedence over one with parameters."""
    paths = document(app)["paths"]
    matching = [template for template in paths if compile_path(template)[0].match(path)]
    return sorted(method.upper() for method in paths[min(matching, key=lambda t: t.count("{"))]) if matching else []
