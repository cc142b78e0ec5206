"""Methods as the API shows them."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class Paper(BaseModel):
    """Where a method comes from."""

    title: str
    authors: str
    equations: str


class MethodView(BaseModel):
    """A loss term that a job can name under `distillation.losses`."""

    name: str
    title: str
    paper: Paper
    acts_on: Literal["feature maps", "head outputs"]
    description: str
    defaults: dict[str, Any]
    parameters: dict[str, Any] = Field(description="JSON Schema of the term")


class PresetView(BaseModel):
    """A named list of terms that a job can name as `distillation.preset`."""

    name: str
    title: str
    losses: list[dict[str, Any]] = Field(description="the terms it stands for, every parameter filled in")


class Methods(BaseModel):
    """Everything that `distillation` can hold."""

    data: list[MethodView]
    presets: list[PresetView]


class ArchitectureView(BaseModel):
    """A network that a job can name as `{"architecture": name}`."""

    name: str
    family: str


class Architectures(BaseModel):
    """The allow-list of networks."""

    data: list[ArchitectureView]
