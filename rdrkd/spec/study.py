"""The study spec: methods compared on one dataset, with the same seeds and the same training settings."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from rdrkd.spec.faults import Fault, refusal
from rdrkd.spec.presets import TABLE_1, TABLE_2, Distillation, Preset
from rdrkd.spec.references import Architecture, DatasetRef, ModelRef
from rdrkd.spec.training import TrainSettings

GROUPS: dict[str, tuple[Preset, ...]] = {"table1": TABLE_1, "table2": TABLE_2}  # names that stand for several methods
NAMES: tuple[str, ...] = (*map(str, Preset), *GROUPS)
NAME = r"^[A-Za-z0-9][A-Za-z0-9+._-]{0,63}$"
Seed = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]  # strict: true is no seed 1


class Method(BaseModel):
    """A distillation under a name of one's own; a preset's name stands for that preset alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=NAME, description="what the report calls it")
    distillation: Distillation

    @model_validator(mode="after")
    def _named_rightly(self) -> Self:
        alone = not self.distillation.recipe.terms
        if alone != (self.name == Preset.NONE):
            raise ValueError(f"expected the name `none` for the student alone and for nothing else, got {self.name}")
        if self.name in GROUPS or (self.name in NAMES and self.distillation != _preset(self.name)):
            raise ValueError(f"expected a name that no preset has, got {self.name} with a distillation of its own")
        return self


def _preset(name: str) -> Distillation:
    return Distillation(preset=Preset(name))


def _kind(value: Any) -> str:
    return "preset" if isinstance(value, str) else "own"


# One entry of the list: a preset's or a group's name, or a method of one's own.
Choice = Annotated[
    Annotated[Literal[NAMES], Tag("preset")] | Annotated[Method, Tag("own")],  # type: ignore[valid-type]
    Discriminator(_kind),
]


class Teacher(BaseModel):
    """The study's teacher: weights as they are, or a model that the study trains first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelRef = Field(description="weights; with `train`, an architecture or start weights")
    train: TrainSettings | None = Field(None, description="how to train it; without, the weights are used as they are")

    @model_validator(mode="after")
    def _has_weights(self) -> Self:
        if self.train is None and isinstance(self.model, Architecture):
            raise ValueError("expected a model that has weights, or `train` to make them, got an architecture alone")
        return self


class Study(BaseModel):
    """Methods x seeds; the method `none`, the student alone, is the baseline of every comparison."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=NAME, description="name of the study")
    dataset: DatasetRef
    teacher: Teacher
    student: ModelRef
    methods: tuple[Choice, ...] = Field(
        min_length=1,
        max_length=100,
        description="presets, groups of them (`table1`, `table2`), or {name, distillation}",
    )
    seeds: tuple[Seed, ...] = Field((0, 1, 2), min_length=1, max_length=100, description="each method gets each")
    train: TrainSettings = Field(
        default_factory=TrainSettings, description="of every student, without `seed`: that is one of `seeds`"
    )

    @property
    def each_method(self) -> tuple[Method, ...]:
        """Every method once, in order: a group adds those of its presets that the list does not name itself."""
        own = {choice.name: choice for choice in self.methods if isinstance(choice, Method)}
        named = {_name(choice) for choice in self.methods}
        names: dict[str, None] = {}
        for choice in self.methods:
            group = GROUPS.get(_name(choice))
            names |= dict.fromkeys([_name(choice)] if group is None else [p for p in group if p not in named])
        return tuple(own.get(name) or Method(name=name, distillation=_preset(name)) for name in names)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [_name(choice) for choice in self.methods]
        faults = [*_repeated("methods", names), *_repeated("seeds", self.seeds)]
        for place, choice in enumerate(self.methods):
            if isinstance(choice, Method):
                never_on = choice.distillation.never_on(self.train.epochs)
                faults += [Fault(("methods", place, *where), detail, came) for where, detail, came in never_on]
        if "seed" in self.train.model_fields_set:
            seed = self.train.seed
            faults.append(Fault(("train", "seed"), f"expected no seed here but in `seeds`, got {seed}", seed))
        if faults:
            raise refusal(faults)
        return self


def _repeated(what: str, values: Sequence[Any]) -> Iterator[Fault]:
    """Give a fault for each value that stands in the list before."""
    for place, value in enumerate(values):
        if value in values[:place]:
            yield Fault((what, place), f"expected distinct {what}, got {value} again", value)


def _name(choice: str | Method) -> str:
    return choice.name if isinstance(choice, Method) else choice
