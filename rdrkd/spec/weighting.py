"""How a term's weight is determined, and how it changes during training."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Field(ge=1e-4, le=100)


class Calibration(BaseModel):
    """Set the weights from gradients: each weighted term's gradient norm becomes a share of the task's.

    A published weight fits that paper's teacher, widths and normalisers; a share of the gradient fits any pair.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    share: float = Field(
        0.5, ge=1e-4, le=100, description="gradient norm of each weighted term, as a share of the task loss's"
    )
    shares: dict[str, float] = Field(
        default_factory=dict, max_length=32, description="shares by term name, instead of `share`"
    )
    mode: Literal["start", "running"] = Field(
        "start", description="`start`: measured in the first steps, then fixed; `running`: updated throughout training"
    )
    steps: int = Field(
        20,
        ge=1,
        le=10_000,
        description="`start`: number of measured steps with objects; `running`: largest number of steps between "
        "measurements, fewer early on",
    )

    @model_validator(mode="after")
    def _shares_in_bounds(self) -> Self:
        for name, share in self.shares.items():
            if not 1e-4 <= share <= 100:
                raise ValueError(f"expected shares from 0.0001 to 100, got {share} for {name}")
        return self

    def share_of(self, name: str) -> float:
        """Return the share of a term.

        >>> Calibration(share=0.2, shares={"responsive": 1.0}).share_of("responsive")
        1.0
        """
        return self.shares.get(name, self.share)


class Schedule(BaseModel):
    """A factor on all terms during training: rises from 0, then stays constant or decays, then is 0."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    shape: Literal["constant", "linear", "cosine"] = Field("constant", description="shape of the decay from 1 to `end`")
    end: float = Field(0.0, ge=0, le=1, description="factor at the end of the decay (linear, cosine)")
    warmup_epochs: float = Field(0.0, ge=0, le=10_000, description="epochs over which the factor rises from 0 to 1")
    stop_epochs: float = Field(0.0, ge=0, le=10_000, description="number of last epochs without distillation")
