"""How a term's weight is found and how it changes in the course of a training."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Field(ge=1e-4, le=100)


class Calibration(BaseModel):
    """Set the weights from gradients: each weighted term's norm at the student becomes a share of the task's.

    A weight of a paper fits that paper's teacher, widths and normalisers; a share of the gradient fits any pair.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    share: float = Field(
        0.5, ge=1e-4, le=100, description="gradient norm of each weighted term, as a share of the task loss's"
    )
    shares: dict[str, float] = Field(
        default_factory=dict, max_length=32, description="term name -> a share of its own, instead of `share`"
    )
    mode: Literal["start", "running"] = Field(
        "start", description="`start`: from the first steps, then fixed; `running`: followed through the training"
    )
    steps: int = Field(
        20,
        ge=1,
        le=10_000,
        description="`start`: measured steps with objects; `running`: most steps from one to the next, early on fewer",
    )

    @model_validator(mode="after")
    def _shares_in_bounds(self) -> Self:
        for name, share in self.shares.items():
            if not 1e-4 <= share <= 100:
                raise ValueError(f"expected shares from 0.0001 to 100, got {share} for {name}")
        return self

    def share_of(self, name: str) -> float:
        """Return the share that a term is to have.

        >>> Calibration(share=0.2, shares={"responsive": 1.0}).share_of("responsive")
        1.0
        """
        return self.shares.get(name, self.share)


class Schedule(BaseModel):
    """A factor on all terms in the course of a training: up from 0, then constant or down, then off."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    shape: Literal["constant", "linear", "cosine"] = Field("constant", description="shape of the decay from 1 to `end`")
    end: float = Field(0.0, ge=0, le=1, description="factor at the end of the decay (linear, cosine)")
    warmup_epochs: float = Field(0.0, ge=0, le=10_000, description="epochs in which the factor rises from 0 to 1")
    stop_epochs: float = Field(0.0, ge=0, le=10_000, description="number of last epochs without distillation")
