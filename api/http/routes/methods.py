"""Endpoints that list methods, presets and architectures."""

from fastapi import APIRouter

from api.methods import service
from api.methods.schemas import Architectures, Methods

router = APIRouter(tags=["methods"])


@router.get("/methods", operation_id="list_methods")
def list_methods() -> Methods:
    """List the loss terms with their parameters, and the presets with the terms that they stand for."""
    return Methods(data=service.methods(), presets=service.presets())


@router.get("/architectures", operation_id="list_architectures")
def list_architectures() -> Architectures:
    """List the architectures that a job may name."""
    return Architectures(data=service.architectures())
