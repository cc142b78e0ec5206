"""The study spec: methods compared on one dataset, with the same seeds and the same training settings."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rdrkd.spec.presets import TABLE_1, TABLE_2, Distillation, Preset
from rdrkd.spec.references import ModelRef
from rdrkd.spec.training import TrainSettings

GROUPS: dict[str, tuple[Preset, ...]] = {"table1": TABLE_1, "table2": TABLE_2}  # names that stand for several methods
NAME = r"^[A-Za-z0-9][A-Za-z0-9+._-]{0,63}$"
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Method(BaseModel):
    """A method of a study: a preset under its own name, or any distillation under a name of one's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=NAME, description="what the report calls it")
    distillation: Distillation


class Teacher(BaseModel):
    """The study's teacher: weights as they are, or a model that the study trains first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelRef = Field(description="weights; with `train`, an architecture or start weights")
    train: TrainSettings | None = Field(None, description="how to train it; without, the weights are used as they are")


class Study(BaseModel):
    """Methods x seeds; the method `none`, the student alone, is the baseline of every comparison."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=NAME, description="name of the study")
    dataset: str = Field(min_length=1, max_length=4096, description="path of the dataset")
    teacher: Teacher
    student: ModelRef
    methods: tuple[Method, ...] = Field(
        min_length=1,
        max_length=100,
        description="preset names, groups of them (`table1`, `table2`), or {name, distillation}",
    )
    seeds: tuple[Seed, ...] = Field((0, 1, 2), min_length=1, max_length=100, description="each method gets each")
    train: TrainSettings = Field(
        default_factory=TrainSettings, description="of every student; its seed is one of `seeds`"
    )

    @field_validator("methods", mode="before")
    @classmethod
    def _expand(cls, methods: Any) -> Any:
        """Turn names into methods."""
        if not isinstance(methods, list | tuple):
            return methods
        expanded: list[Any] = []
        for method in methods:
            if isinstance(method, str):
                presets = GROUPS.get(method, (method,))
                expanded += [{"name": str(preset), "distillation": {"preset": preset}} for preset in presets]
            else:
                expanded.append(method)
        return expanded

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for what, values in (("methods", [m.name for m in self.methods]), ("seeds", list(self.seeds))):
            if len(set(values)) != len(values):
                raise ValueError(f"expected distinct {what}, got {values}")
        for method in self.methods:
            alone = not method.distillation.recipe.terms
            if alone != (method.name == Preset.NONE):
                raise ValueError(
                    f"expected the name `none` for the student alone and for nothing else, got {method.name}"
                )
        return self
