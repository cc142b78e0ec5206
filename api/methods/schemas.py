"""Methods as the API shows them."""

from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from rdrkd.spec import Calibration, Schedule


class Paper(BaseModel):
    """The source of a method."""

    title: str
    authors: str
    equations: str | None = None

    @classmethod
    def of(cls, title: str, authors: str, equations: str | None = None) -> Self:
        """Build the view of a source."""
        return cls(title=title, authors=authors, equations=equations)


class MethodView(BaseModel):
    """A loss term that a job can name under `distillation.losses`."""

    name: str
    title: str
    paper: Paper
    acts_on: Literal["feature maps", "head outputs"]
    needs: list[str] = Field(description="requirements on teacher and student, in addition to equal classes")
    description: str
    defaults: dict[str, Any]
    parameters: dict[str, Any] = Field(description="JSON Schema of the term")


class PresetView(BaseModel):
    """A named recipe that a job can name as `distillation.preset`."""

    name: str
    title: str
    losses: list[dict[str, Any]] = Field(description="its terms, with every parameter filled in")
    calibration: Calibration | None = Field(description="calibration of the weights from gradients, if any")
    schedule: Schedule = Field(description="schedule of the weights over the epochs")


class Methods(BaseModel):
    """The terms and presets of `distillation`."""

    data: list[MethodView]
    presets: list[PresetView]


class ArchitectureView(BaseModel):
    """A network that a job can name as `{"architecture": name}`."""

    name: str
    family: str
    pretrained: bool = Field(description="whether there are official weights: `{architecture, pretrained: true}`")


class Architectures(BaseModel):
    """The allow-list of networks."""

    data: list[ArchitectureView]
