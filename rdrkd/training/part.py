"""The parts of a run: the training of the student and then, with `baseline`, of the same student alone.

They follow each other in one run folder and number their epochs consecutively: with 10 epochs each, those of the
student alone are 11 to 20. A checkpoint is of the whole run: it holds the files of earlier parts and the state of the
current one. So code that keeps, restores or prunes checkpoints need not distinguish parts.
"""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from rdrkd import epochs
from rdrkd.events import Phase

Name = epochs.Part
PHASES: dict[Name, Phase] = {"student": "training", "alone": "training_alone"}


class Trained(BaseModel):
    """The outcome of a part that has been trained.

    Attributes:
        best_epoch: 1-based, counted within the part.
        batch: images per step; fewer than requested if the memory did not suffice.
        weights: calibrated, by term; None without calibration.
        measured: number of steps whose gradients calibration has measured.
    """

    model_config = ConfigDict(frozen=True)

    best_epoch: int | None = None
    batch: int | None = None
    weights: dict[str, float] | None = None
    measured: int = 0

    @classmethod
    def of(cls, state: dict[str, Any]) -> Self:
        """Read the outcome from the state of the part's last checkpoint."""
        distillation = state["distillation"] or {}
        calibration = distillation.get("calibration")
        return cls(
            best_epoch=state["best_epoch"],
            batch=state.get("batch"),
            weights=None if calibration is None else distillation["weights"],
            measured=0 if calibration is None else calibration["measured"],
        )


class Part(BaseModel):
    """One training of a run.

    Attributes:
        name: name of the part; its weights are `<name>.pt`.
        before: epochs of the earlier parts.
        epochs: epochs of all parts together; None: this is the only part.
        earlier: outcome of the part before it.
    """

    model_config = ConfigDict(frozen=True)

    name: Name = "student"
    before: int = 0
    epochs: int | None = None
    earlier: Trained | None = None

    @property
    def phase(self) -> Phase:
        """Phase of this part in progress events."""
        return PHASES[self.name]


WHOLE = Part()  # of a run that trains a single network
