"""The study spec: methods compared on one dataset, with the same seeds and the same training settings."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from rdrkd.spec.controls import CONTROLS, TrainChanges, controls
from rdrkd.spec.deciding import Decide
from rdrkd.spec.field_errors import Fault, refusal
from rdrkd.spec.forms import form
from rdrkd.spec.presets import TABLE_1, TABLE_2, Distillation, Preset
from rdrkd.spec.references import Architecture, DatasetRef, ModelRef, Pretrained, layers_of
from rdrkd.spec.training import TrainSettings

GROUPS: dict[str, tuple[Preset, ...]] = {"table1": TABLE_1, "table2": TABLE_2}  # names of groups of methods
NAMES: tuple[str, ...] = (*map(str, Preset), *GROUPS, CONTROLS)
NAME = form(
    r"^[A-Za-z0-9][A-Za-z0-9+@._-]{0,63}$",
    "a name of up to 64 letters, digits, `+`, `@`, `.`, `_` and `-` that begins with a letter or digit",
)
_REFERENCE = ("model", "job", "path", "architecture")  # text fields of a reference
Seed = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]  # strict: `true` is not the seed 1


class Method(BaseModel):
    """A distillation, or the student alone, under a custom name; names of presets are reserved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=NAME, description="name in the report")
    distillation: Distillation = Field(
        default_factory=lambda: _preset(Preset.NONE), description="default: none, which is the student alone"
    )
    train: TrainChanges | None = Field(None, description="training settings that replace the study's")
    student: Architecture | None = Field(None, description="student that replaces the study's")
    as_long_as: str | None = Field(
        None,
        max_length=64,
        description="name of a distilling method: train the student alone for as many epochs as fit into the time that "
        "this method took (median over the seeds), with its schedule stretched",
    )

    @model_validator(mode="after")
    def _named_rightly(self) -> Self:
        alone = not self.distillation.recipe.terms
        if (alone and not self.changes) != (self.name == Preset.NONE):
            raise ValueError(f"expected the name `none` for the student alone and for nothing else, got {self.name}")
        preset = self.name in set(Preset) and not self.changes and self.distillation == _preset(self.name)
        if self.name in NAMES and not preset:
            raise ValueError(f"expected a name that no preset has, got {self.name} with a distillation of its own")
        if self.as_long_as and not alone:
            raise ValueError("expected `as_long_as` of the student alone, got it with a distillation")
        if self.as_long_as and "epochs" in self.changes.get("train", {}):
            raise ValueError("expected either `as_long_as` or `train.epochs`, got both")
        return self

    @property
    def changes(self) -> dict[str, Any]:
        """Its changes to the study, as JSON values; empty if there are none."""
        own = self.model_dump(mode="json", include={"train", "student", "as_long_as"}, exclude_none=True)
        return {name: value for name, value in own.items() if value}


def _preset(name: str) -> Distillation:
    return Distillation(preset=Preset(name))


def _kind(value: Any) -> str:
    return "preset" if isinstance(value, str) else "own"


# One entry of the list: a preset's or a group's name, or a custom method.
Choice = Annotated[
    Annotated[Literal[NAMES], Tag("preset")] | Annotated[Method, Tag("own")],  # type: ignore[valid-type]
    Discriminator(_kind),
]


class Teacher(BaseModel):
    """The study's teacher: existing weights, or a model that the study trains first.

    `{job: ...}`, as in a job, is the same as `{model: {job: ...}}`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelRef = Field(description="weights; with `train`, an architecture or initial weights")
    train: TrainSettings | None = Field(None, description="how to train it; default: do not train it")

    @model_validator(mode="before")
    @classmethod
    def _of_a_reference(cls, value: Any) -> Any:
        """Return `{model: {job: ...}}` for `{job: ...}`, the form of a job's teacher."""
        if not isinstance(value, dict):
            return value
        reference = {name: given for name, given in value.items() if name in _REFERENCE and isinstance(given, str)}
        if "architecture" in reference and "pretrained" in value:
            reference["pretrained"] = value["pretrained"]
        others = {name: given for name, given in value.items() if name not in reference}
        return others | {"model": reference} if reference and "model" not in others else value

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
        description="presets, groups of them (`table1`, `table2`), `controls` (the student alone for the same time, at "
        "other learning rates, with a P2 head, at a larger imgsz), or custom methods",
    )
    seeds: tuple[Seed, ...] = Field((0, 1, 2), min_length=1, max_length=100, description="seeds of every method")
    train: TrainSettings = Field(
        default_factory=TrainSettings, description="training settings of every student; `seed` comes from `seeds`"
    )

    decide: Decide | None = Field(None, description="decision rule of the report, fixed before the first member runs")

    @property
    def each_method(self) -> tuple[Method, ...]:
        """Every method once, in order; a group adds those of its members that are not listed themselves."""
        own = {choice.name: choice for choice in self.methods if isinstance(choice, Method)}
        named = {_name(choice) for choice in self.methods}
        found: dict[str, Method] = {}
        for choice in self.methods:
            if isinstance(choice, Method):
                more = [choice]
            elif choice == CONTROLS:
                more = [control for control in self._controls if control.name not in named]
            else:
                presets = [preset for preset in GROUPS.get(choice, ()) if preset not in named] or [choice]
                more = [own.get(name) or Method(name=name, distillation=_preset(name)) for name in presets]
            found |= {method.name: method for method in more if method.name not in found}
        return tuple(found.values())

    @property
    def lead(self) -> str | None:
        """The method for the controls and the rule: `decide`'s method, else `rdr-kd`, else the first that distils."""
        if self.decide is not None and self.decide.method:
            return self.decide.method
        names: dict[str, None] = {}
        for choice in self.methods:
            if isinstance(choice, Method):
                names |= {choice.name: None} if choice.distillation.recipe.terms else {}
            elif choice != CONTROLS:
                names |= dict.fromkeys(name for name in GROUPS.get(choice, (choice,)) if name != Preset.NONE)
        return str(Preset.RDR_KD) if Preset.RDR_KD in names else next(iter(map(str, names)), None)

    @property
    def _controls(self) -> list[Method]:
        made = controls(self.lead, self.student, self.train) if self.lead else ()
        return [Method.model_validate(control) for control in made]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [_name(choice) for choice in self.methods]
        faults = [*_repeated("methods", names), *_repeated("seeds", self.seeds), *self._unpaired()]
        for place, choice in enumerate(self.methods):
            if isinstance(choice, Method):
                epochs = choice.changes.get("train", {}).get("epochs", self.train.epochs)
                never_on = choice.distillation.never_on(epochs)
                faults += [Fault(("methods", place, *where), detail, came) for where, detail, came in never_on]
                own = choice.changes.get("train", {})
                frozen = _frozen(choice.student or self.student, own.get("freeze", self.train.freeze))
                faults += [Fault(("methods", place, "train", "freeze"), detail, came) for detail, came in frozen]
        faults += [Fault(("train", "freeze"), *found) for found in _frozen(self.student, self.train.freeze)]
        if (teacher := self.teacher.train) is not None:
            frozen = _frozen(self.teacher.model, teacher.freeze)
            faults += [Fault(("teacher", "train", "freeze"), *found) for found in frozen]
        if "seed" in self.train.model_fields_set:
            seed = self.train.seed
            faults.append(Fault(("train", "seed"), f"expected no seed here but in `seeds`, got {seed}", seed))
        if faults:
            raise refusal(faults)
        return self

    def _unpaired(self) -> Iterator[Fault]:
        """Yield a fault for each control, and for the rule, if it names a method that the study does not have."""
        every = {method.name: bool(method.distillation.recipe.terms) for method in self.each_method}
        distilling = [name for name, distils in every.items() if distils]
        for place, choice in enumerate(self.methods):
            longer = choice.as_long_as if isinstance(choice, Method) else None
            if longer and (longer not in distilling or Preset.NONE not in every):
                detail = f"expected a distilling method of this study, which has `none`, too, got {longer}"
                yield Fault(("methods", place, "as_long_as"), detail, longer)
            if choice == CONTROLS and (not distilling or Preset.NONE not in every):
                detail = "expected `none` and a distilling method beside the controls, got " + (
                    ", ".join(every) or "none"
                )
                yield Fault(("methods", place), detail, choice)
        if self.decide is not None and (self.lead not in distilling or Preset.NONE not in every):
            detail = f"expected `none` and the distilling method that is judged among methods, got {', '.join(every)}"
            yield Fault(("decide",), detail, self.decide.method)


def _frozen(model: ModelRef, freeze: int) -> list[tuple[str, int]]:
    """Return why no layer of an architecture would be trained, and the value received; nothing for other models."""
    layers = layers_of(model.architecture) if isinstance(model, Architecture | Pretrained) else None
    detail = TrainSettings(freeze=freeze).freezes_all(layers) if layers is not None else None
    return [] if detail is None else [(detail, freeze)]


def _repeated(what: str, values: Sequence[Any]) -> Iterator[Fault]:
    """Yield a fault for each value that repeats an earlier one."""
    for place, value in enumerate(values):
        if value in values[:place]:
            yield Fault((what, place), f"expected distinct {what}, got {value} again", value)


def _name(choice: str | Method) -> str:
    return choice.name if isinstance(choice, Method) else choice
