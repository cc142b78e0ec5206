"""What a training trains."""

from dataclasses import dataclass, field

from rdrkd.models import LoadedModel
from rdrkd.spec import Recipe, TrainSettings


@dataclass(frozen=True)
class Plan:
    """What is trained: an architecture or start weights, and the teacher with its recipe, if there is one."""

    student: str | LoadedModel
    settings: TrainSettings
    teacher: LoadedModel | None = None
    recipe: Recipe = field(default_factory=Recipe)
