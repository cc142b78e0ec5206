"""Named lists of loss terms, and the `distillation` block of a job that holds either one or its own list."""

from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rdrkd.spec.losses import Decoupled, Regenerated, Responsive, Term


class Preset(StrEnum):
    """A named method."""

    RDR_KD = "rdr-kd"  # the three losses, the responsive one calibrated by the task's own normaliser
    RDR_KD_PAPER = "rdr-kd-paper"  # the paper's weights 1e-5 / 1e-1 / 1e-5 and plain sums, to the letter
    NONE = "none"  # the student alone: the baseline of every comparison


PRESETS: dict[Preset, tuple[Term, ...]] = {
    Preset.RDR_KD: (Regenerated(), Decoupled(), Responsive()),
    Preset.RDR_KD_PAPER: (
        Regenerated(),
        Decoupled(),
        Responsive(weight=1e-5, class_weight=1.0, box_weight=1.0, normalizer="image_sum", loc_weight="none"),
    ),
    Preset.NONE: (),
}


class Distillation(BaseModel):
    """Which terms a distillation sums: a `preset`, or `losses`, never both; without either the preset `rdr-kd`."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"not": {"required": ["losses", "preset"]}}
    )

    preset: Preset | None = Field(None, description="a named list of terms")
    losses: tuple[Term, ...] | None = Field(None, min_length=1, description="weighted terms, each name at most once")

    @model_validator(mode="before")
    @classmethod
    def _default(cls, data: Any) -> Any:
        return {"preset": Preset.RDR_KD} if data == {} else data

    @field_validator("losses")
    @classmethod
    def _names_once(cls, losses: tuple[Term, ...] | None) -> tuple[Term, ...] | None:
        names = [term.name for term in losses or ()]
        if len(set(names)) != len(names):
            raise ValueError(f"expected each term at most once, got {names}")
        return losses

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.preset is None) == (self.losses is None):
            raise ValueError(
                "expected either `preset` or `losses`, got " + ("neither" if self.preset is None else "both")
            )
        return self

    @property
    def terms(self) -> tuple[Term, ...]:
        """The expanded list of terms.

        >>> [term.name for term in Distillation(preset="rdr-kd").terms]
        ['regenerated', 'decoupled', 'responsive']
        """
        if self.losses is not None:
            return self.losses
        assert self.preset is not None
        return PRESETS[self.preset]
