"""The plan of a training, and its serialised form for another process, which loads the models from their files."""

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from rdrkd.errors import ModelError
from rdrkd.models import LoadedModel, load_weights
from rdrkd.spec import Architecture, LocalModel, Recipe, TrainSettings


@dataclass(frozen=True)
class Plan:
    """What is trained: an architecture or start weights, and the teacher with its recipe, if there is one."""

    student: str | LoadedModel
    settings: TrainSettings
    teacher: LoadedModel | None = None
    recipe: Recipe = field(default_factory=Recipe)


class WrittenPlan(BaseModel):
    """A plan whose models are named by their files."""

    student: Architecture | LocalModel
    settings: TrainSettings
    teacher: LocalModel | None
    recipe: Recipe

    @classmethod
    def of(cls, plan: Plan) -> "WrittenPlan":
        """Serialise a plan.

        Raises:
            ModelError: a model of the plan was not read from a file.
        """
        start = plan.student
        return cls(
            student=Architecture(architecture=start) if isinstance(start, str) else _file_of(start),
            settings=plan.settings,
            teacher=None if plan.teacher is None else _file_of(plan.teacher),
            recipe=plan.recipe,
        )

    def load(self) -> Plan:
        """Load the models and return the plan.

        Raises:
            ModelError: a model's file can no longer be read.
        """
        start = self.student
        return Plan(
            start.architecture if isinstance(start, Architecture) else load_weights(Path(start.path)),
            self.settings,
            None if self.teacher is None else load_weights(Path(self.teacher.path)),
            self.recipe,
        )


def _file_of(model: LoadedModel) -> LocalModel:
    if model.path is None:
        raise ModelError("expected models with files of their own for a training on several devices, got one without")
    return LocalModel(path=str(model.path))
