"""Endpoints that list methods, presets and architectures."""

from functools import cache

from fastapi import APIRouter

from api.methods import service
from api.methods.schemas import Architectures, Methods

router = APIRouter(tags=["methods"])


@router.get("/methods", operation_id="list_methods")
def list_methods() -> Methods:
    """List the loss terms with their parameters, and the presets with the terms that they stand for."""
    return _catalogue()


@router.get("/architectures", operation_id="list_architectures")
def list_architectures() -> Architectures:
    """List the architectures that a job may name."""
    return Architectures(data=service.architectures())


@cache
def _catalogue() -> Methods:
    """Make the schemas of all terms once: that takes ten times as long as the rest of a request."""
    return Methods(data=service.methods(), presets=service.presets())
