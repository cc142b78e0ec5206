"""Named recipes, and the `distillation` block of a job, which selects one of them or lists its own terms."""

from enum import StrEnum
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.config import JsonDict

from rdrkd.spec.field_errors import Fault
from rdrkd.spec.losses import (
    Amd,
    Bckd,
    Crosskd,
    Cwd,
    Decoupled,
    Dkd,
    Fgd,
    Ld,
    Mgd,
    Nkd,
    Pkd,
    Regenerated,
    Responsive,
    Term,
    Ultralytics,
    Wsld,
)
from rdrkd.spec.weighting import Calibration, Schedule

Assigner = Literal["student", "teacher"]
_NAMED = {"preset", "losses"}
_OF_ONE_GRID = {"crosskd", "ld"}  # they compare head outputs in units of the strides


class Recipe(NamedTuple):
    """A distillation: weighted terms, their schedule, the scale of the teacher's input, and who assigns the labels."""

    terms: tuple[Term, ...] = ()
    calibration: Calibration | None = None
    schedule: Schedule = Schedule()
    teacher_scale: float = 1.0
    assignment: Assigner = "student"


class Preset(StrEnum):
    """A named method."""

    RDR_KD = "rdr-kd"  # the three losses, each with a share of the task's gradient
    RDR_KD_PAPER = "rdr-kd-paper"  # the paper's weights 1e-5 / 1e-1 / 1e-5 and plain sums, to the letter
    REGENERATED = "regenerated"  # Table II: the regenerated term alone
    DECOUPLED = "decoupled"  # Table II: the decoupled term alone
    REGENERATED_DECOUPLED = "regenerated+decoupled"  # Table II: the two feature terms
    RESPONSIVE = "responsive"  # Table II: the responsive term alone
    BCKD = "bckd"  # focal imitation of the sigmoids and GIoU, with their published weights
    CROSSKD = "crosskd"  # the student's map through the teacher's head, with the published weights
    ULTRALYTICS = "ultralytics"  # Ultralytics' own distillation, gain 6
    CWD = "cwd"  # channel-wise distillation, with its published weight
    PKD = "pkd"  # Pearson distillation, with its published weight
    MGD = "mgd"  # masked generative distillation, with its published weight
    FGD = "fgd"  # focal and global distillation, with its weights for YOLOX
    AMD = "amd"  # adaptive masked distillation, reconstructed from its abstract
    WSLD = "wsld"  # weighted soft labels, with the weight published for ImageNet
    LD = "ld"  # localisation distillation, with its published weight
    DKD = "dkd"  # decoupled knowledge distillation, with its weights for detectors
    NKD = "nkd"  # normalised knowledge distillation, with its weights for ImageNet
    CWD_WSLD = "cwd+wsld"  # Table I's pairs: the sum of the two
    MGD_WSLD = "mgd+wsld"
    MGD_DKD = "mgd+dkd"
    PKD_NKD = "pkd+nkd"
    PKD_DKD = "pkd+dkd"
    NONE = "none"  # the student alone: the baseline of every comparison


# Shares of the task's gradient, chosen by a first study on real images (docs/results/README.md).
SHARES = {"regenerated": 1.0, "decoupled": 0.5, "responsive": 0.5}

STEPS = 60  # between measurements, each of which costs 0.7 of a step (docs/diagnostics.md)


def _with_shares(*terms: Term) -> Recipe:
    shares = {term.name: SHARES[term.name] for term in terms}
    return Recipe(terms, Calibration(mode="running", shares=shares, steps=STEPS))


PRESETS: dict[Preset, Recipe] = {
    Preset.RDR_KD: _with_shares(Regenerated(), Decoupled(), Responsive()),
    Preset.RDR_KD_PAPER: Recipe(
        (
            Regenerated(),
            Decoupled(),
            Responsive(weight=1e-5, class_weight=1.0, box_weight=1.0, normalizer="image_sum", loc_weight="none"),
        )
    ),
    Preset.REGENERATED: _with_shares(Regenerated()),
    Preset.DECOUPLED: _with_shares(Decoupled()),
    Preset.REGENERATED_DECOUPLED: _with_shares(Regenerated(), Decoupled()),
    Preset.RESPONSIVE: _with_shares(Responsive()),
    Preset.BCKD: Recipe((Bckd(),)),
    Preset.CROSSKD: Recipe((Crosskd(),)),
    Preset.ULTRALYTICS: Recipe((Ultralytics(),)),
    Preset.CWD: Recipe((Cwd(),)),
    Preset.PKD: Recipe((Pkd(),)),
    Preset.MGD: Recipe((Mgd(),)),
    Preset.FGD: Recipe((Fgd(),)),
    Preset.AMD: Recipe((Amd(),)),
    Preset.WSLD: Recipe((Wsld(),)),
    Preset.LD: Recipe((Ld(),)),
    Preset.DKD: Recipe((Dkd(),)),
    Preset.NKD: Recipe((Nkd(),)),
    Preset.CWD_WSLD: Recipe((Cwd(), Wsld())),
    Preset.MGD_WSLD: Recipe((Mgd(), Wsld())),
    Preset.MGD_DKD: Recipe((Mgd(), Dkd())),
    Preset.PKD_NKD: Recipe((Pkd(), Nkd())),
    Preset.PKD_DKD: Recipe((Pkd(), Dkd())),
    Preset.NONE: Recipe(),
}
TABLE_1 = (  # the rows of the paper's comparison, in its order
    Preset.NONE,
    Preset.CWD,
    Preset.MGD,
    Preset.FGD,
    Preset.PKD,
    Preset.AMD,
    Preset.WSLD,
    Preset.LD,
    Preset.DKD,
    Preset.NKD,
    Preset.CROSSKD,
    Preset.CWD_WSLD,
    Preset.MGD_WSLD,
    Preset.MGD_DKD,
    Preset.PKD_NKD,
    Preset.PKD_DKD,
    Preset.RDR_KD,
)
TABLE_2 = (  # the six rows of the paper's ablation
    Preset.NONE,
    Preset.REGENERATED,
    Preset.DECOUPLED,
    Preset.REGENERATED_DECOUPLED,
    Preset.RESPONSIVE,
    Preset.RDR_KD,
)


# `properties` are listed because linters otherwise report the names as typing errors.
_BOTH: JsonDict = {"required": ["losses", "preset"], "properties": {"losses": {}, "preset": {}}}


class Distillation(BaseModel):
    """The terms of a distillation: a `preset` or `losses`, not both; default: the preset `rdr-kd`."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"not": _BOTH})

    preset: Preset | None = Field(None, description="a named set of terms and their weighting")
    losses: tuple[Term, ...] | None = Field(
        None, min_length=1, description="loss terms with weights, each term at most once"
    )
    calibration: Calibration | None = Field(
        None, description="set the weights from gradient norms; default: the preset's, or fixed weights"
    )
    schedule: Schedule | None = Field(
        None, description="schedule of a factor on all terms; default: the preset's, or constant"
    )

    teacher_scale: float | None = Field(
        None, ge=1, le=4,
        description="scale of the teacher's input relative to the student's, rounded to multiples of 32 px, for a "
        "teacher trained at a larger imgsz; not with crosskd or ld; default: 1",
    )  # fmt: skip
    assignment: Assigner | None = Field(
        None,
        description="whose predictions decide which anchors learn which object (label assignment distillation, "
        "arXiv 2108.10520); default: student",
    )

    @model_validator(mode="before")
    @classmethod
    def _default(cls, data: Any) -> Any:
        return {"preset": Preset.RDR_KD, **data} if isinstance(data, dict) and not _NAMED & data.keys() else data

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

    @model_validator(mode="after")
    def _shares_of_its_terms(self) -> Self:
        terms = [term.name for term in self.recipe.terms]
        strange = sorted(set(self.calibration.shares) - set(terms)) if self.calibration else []
        if strange:
            raise ValueError(f"expected shares of the terms {terms}, got also {strange}")
        return self

    @model_validator(mode="after")
    def _heads_on_one_grid(self) -> Self:
        strange = sorted({term.name for term in self.recipe.terms} & _OF_ONE_GRID)
        if strange and self.recipe.teacher_scale != 1:
            raise ValueError(
                f"expected teacher_scale without {' and '.join(strange)}, which compare the insides of heads"
            )
        return self

    @model_validator(mode="after")
    def _assigned_by_a_teacher(self) -> Self:
        if self.assignment == "teacher" and not self.recipe.terms:
            raise ValueError("expected terms beside `assignment: teacher`: without them no teacher runs")
        return self

    @property
    def recipe(self) -> Recipe:
        """The terms and their weighting, with the preset's values where this block sets none.

        >>> [term.name for term in Distillation(preset="rdr-kd").recipe.terms]
        ['regenerated', 'decoupled', 'responsive']
        """
        base = Recipe(self.losses or ()) if self.preset is None else PRESETS[self.preset]
        schedule = self.schedule or base.schedule
        return Recipe(
            base.terms,
            self.calibration or base.calibration,
            schedule,
            self.teacher_scale or base.teacher_scale,
            self.assignment or base.assignment,
        )

    def never_on(self, epochs: int) -> list[Fault]:
        """Return the fault of a schedule that switches the terms off before a training of `epochs` epochs begins."""
        stop = self.recipe.schedule.stop_epochs
        if not self.recipe.terms or stop < epochs:
            return []
        detail = f"expected stop_epochs below the {epochs} epochs of train, got {stop:g}: the terms would never be on"
        return [Fault(("distillation", "schedule", "stop_epochs"), detail, stop)]
