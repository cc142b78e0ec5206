"""Fields of all views that have an epoch: whose training it belongs to, and its number within that training."""

from pydantic import BaseModel, Field

from rdrkd.epochs import Part


class Placed(BaseModel):
    """What belongs to an epoch; `rdrkd.epochs.Place` as fields."""

    part: Part | None = Field(
        description="whose training the epoch belongs to: `student`, or `alone`, the student without its teacher "
        "(`baseline`), whose epochs follow; null without an epoch"
    )
    part_epoch: int | None = Field(description="number of the epoch within that training, 1-based")
    part_epochs: int | None = Field(description="number of epochs of that training")
