"""The members of a study: runs, identified by everything that determines their outcome.

A member's key is (method, seed, hash). The hash covers everything else that determines the outcome: the dataset's
bytes, the student, the training settings, the terms with every parameter, and the teacher. So a member trained
elsewhere is recognised, and one whose settings have changed is trained again. A teacher that the study trains is
hashed by its recipe, not by its weights, which differ between machines.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from rdrkd.errors import ModelError
from rdrkd.files import file_sha256
from rdrkd.spec import Architecture, LocalModel, ModelRef, Preset, Pretrained, Term
from rdrkd.spec.study import Method, Study

T = TypeVar("T")
Key = tuple[str, int, str]
BASELINE = str(Preset.NONE)  # the student alone, with which every method is compared
MOST_COLUMNS = 3  # of the panel, besides the ground truth
Identity = Callable[[ModelRef], Any]  # identity of a model: equal for equal weights

# Options added after members had been recorded, with the defaults that keep a term as it was before.
_LATER = {"generation": "full", "standardize": False, "by_visibility": False}


@dataclass(frozen=True)
class Member:
    """One run of a study.

    Attributes:
        method, seed, hash: its key.
        setting: hash of what comparable members share: dataset, student, training.
        spec: the job spec.
        needs_teacher: whether the method uses the teacher.
        as_long_as: the method whose time it gets; its spec has the study's epochs until that time is known.
        stretched: factor by which its training was lengthened; None: not (yet).
    """

    method: str
    seed: int
    hash: str
    setting: str
    spec: dict[str, Any]
    needs_teacher: bool
    as_long_as: str | None = None
    stretched: float | None = None

    @property
    def key(self) -> Key:
        """The member's key."""
        return self.method, self.seed, self.hash

    @property
    def folder(self) -> str:
        """Name of its run folder."""
        return f"{self.method}-seed-{self.seed}-{self.hash}"


def members_of(
    study: Study, dataset_sha256: str, teacher: Mapping[str, str], identity: Identity | None = None
) -> list[Member]:
    """Return a study's members, seed by seed, so that whole comparisons are complete early.

    Args:
        study: the study.
        dataset_sha256: hash of the dataset's content.
        teacher: the job specs' reference to the teacher's weights.
        identity: returns a model's identity; default: for architectures and local files.

    Raises:
        ModelError: weights that the study names do not exist.
    """
    own = cache(identity or local_identity)  # hash a weights file once, not for every member
    methods = study.each_method
    return [member_of(study, method, seed, dataset_sha256, teacher, own) for seed in study.seeds for method in methods]


def member_of(
    study: Study, method: Method, seed: int, dataset_sha256: str, teacher: Mapping[str, str], identity: Identity
) -> Member:
    """Return one member; arguments as of `members_of`."""
    training = study.train.model_dump(mode="json", exclude={"seed"})
    setting = [dataset_sha256, identity(study.student), training]
    recipe = method.distillation.recipe
    terms = [deciding(term) for term in recipe.terms]
    weighting: list[Any] = [recipe.calibration and recipe.calibration.model_dump(mode="json")]
    weighting += [recipe.schedule.model_dump()]
    weighting += [recipe.teacher_scale] if recipe.teacher_scale != 1 else []  # this and the next came later
    weighting += [recipe.assignment] if recipe.assignment != "student" else []
    method_part = [terms, weighting, teacher_hash(study, identity)] if terms else None
    changes = method.changes
    if method.as_long_as:  # a measured length is hashed by the method it is measured from
        (longer,) = (each for each in study.each_method if each.name == method.as_long_as)
        changes = {**changes, "as_long_as": member_of(study, longer, seed, dataset_sha256, teacher, identity).hash}
    return Member(
        method=method.name,
        seed=seed,
        hash=digest([setting, method_part, *([changes] if changes else [])]),
        setting=digest(setting),
        spec=job_spec(study, method, seed, teacher),
        needs_teacher=bool(terms),
        as_long_as=method.as_long_as,
    )


def deciding(term: Term) -> dict[str, Any]:
    """Return the options of a term that enter the hash; newer options only if they are not at their default."""
    return {name: value for name, value in term.model_dump(mode="json").items() if _LATER.get(name, ...) != value}


def job_spec(study: Study, method: Method, seed: int, teacher: Mapping[str, str]) -> dict[str, Any]:
    """Return the job spec of a member; that of the student alone does not mention the teacher."""
    common = {
        "name": f"{study.name}-{method.name}-seed-{seed}",
        "dataset": study.dataset,
        "train": {**study.train.model_dump(mode="json"), **method.changes.get("train", {}), "seed": seed},
    }
    student = (method.student or study.student).model_dump(mode="json")
    if not method.distillation.recipe.terms:
        return {"kind": "train", **common, "model": student}
    distillation = method.distillation.model_dump(mode="json", exclude_none=True)
    return {"kind": "distill", **common, "teacher": dict(teacher), "student": student, "distillation": distillation}


def columns_of(finished: Iterable[tuple[str, int, T]]) -> list[tuple[str, T]]:
    """Choose the panel's columns: from the first seed that has both, the baseline and then the first methods.

    Args:
        finished: method, seed and payload, in the study's order.

    >>> columns_of([("a", 0, 1), ("none", 1, 2), ("a", 1, 3), ("b", 1, 4), ("c", 1, 5)])
    [('none', 2), ('a', 3), ('b', 4)]
    """
    by_seed: dict[int, list[tuple[str, T]]] = {}
    for method, seed, what in finished:
        by_seed.setdefault(seed, []).append((method, what))
    for own in by_seed.values():
        own.sort(key=lambda column: column[0] != BASELINE)  # stable: the rest in the study's order
        if len(own) > 1 and own[0][0] == BASELINE:
            return own[:MOST_COLUMNS]
    return []


def teacher_spec(study: Study) -> dict[str, Any] | None:
    """Return the job spec that trains the teacher; None if its weights are given."""
    if study.teacher.train is None:
        return None
    return {
        "kind": "train",
        "name": f"{study.name}-teacher",
        "dataset": study.dataset,
        "model": study.teacher.model.model_dump(mode="json"),
        "train": study.teacher.train.model_dump(mode="json"),
    }


def teacher_hash(study: Study, identity: Identity | None = None) -> str:
    """Return the hash of the teacher's recipe or weights."""
    settings = study.teacher.train
    return digest([(identity or local_identity)(study.teacher.model), settings and settings.model_dump(mode="json")])


def without_paths(study: Study) -> dict[str, Any]:
    """Return a study for its results, with file names instead of paths: the hashes identify the content."""
    content = study.model_dump(mode="json", exclude_none=True)
    content["dataset"] = Path(study.dataset).name
    for model in (content["student"], content["teacher"]["model"]):
        if "path" in model:
            model["path"] = Path(model["path"]).name
    return content


def digest(content: Any) -> str:
    """Hash plain content, 12 hex digits.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def local_identity(model: ModelRef) -> Any:
    """Return the identity of a local model, regardless of its path.

    Raises:
        ModelError: its file does not exist.
    """
    if isinstance(model, Architecture | Pretrained):
        return model.model_dump(mode="json")
    assert isinstance(model, LocalModel), "a study on the command line names models by architecture or path"
    if not Path(model.path).is_file():
        raise ModelError(f"expected a weights file, got nothing at {Path(model.path).name}")
    return {"sha256": file_sha256(Path(model.path))}
