"""The OpenAPI document: FastAPI's, with our own form of errors and the guard's refusals in every operation."""

import json
from typing import Any

from fastapi import FastAPI

from api.access import Scope, needed
from api.dependencies import refusals
from api.errors import ApiError, InsufficientScope, ProblemDocument, RateLimited


def document(app: FastAPI) -> dict[str, Any]:
    """Give the app's document."""
    if app.openapi_schema is None:
        made = FastAPI.openapi(app)
        schemas = made["components"]["schemas"]
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        problem = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= problem.pop("$defs") | {"ProblemDocument": problem}
        for path, methods in made["paths"].items():
            for method, operation in methods.items():
                _complete(operation["responses"], method.upper(), path)
    return app.openapi_schema or {}


def _complete(responses: dict[str, Any], method: str, path: str) -> None:
    if "HTTPValidationError" in json.dumps(responses.get("422")):
        del responses["422"]  # FastAPI's guess wherever there is a parameter
    if path.startswith("/v1/"):
        for error in _guarded(method, path):
            _add(responses, error)


def _guarded(method: str, path: str) -> list[type[ApiError]]:
    """Name what the guard answers an operation with, beside what is said of all."""
    return [RateLimited, *([InsufficientScope] if needed(method, path) != Scope.READ else [])]


def _add(responses: dict[str, Any], error: type[ApiError]) -> None:
    """Add an error to those of its status: a route's responses replace its router's of the same status."""
    documented = refusals(error)[error.status]
    there = responses.setdefault(str(error.status), documented)
    if f"`{error.code}`" not in there["description"]:
        there["description"] += f"; `{error.code}`: {error.title}"
