"""Open the models that a spec names, and refuse what cannot work before anything costly runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rdrkd import pretrained
from rdrkd.data import Dataset
from rdrkd.data.reading import AS_IT_IS, Reading
from rdrkd.errors import DatasetError, ModelError, Problem, SpecError, TeacherError
from rdrkd.evaluation.evaluate import SINGLE, check_pair
from rdrkd.export.formats import device_of
from rdrkd.models import LoadedModel, load_weights
from rdrkd.models.pairs import check_classes as check_teacher
from rdrkd.spec import Architecture, Distill, Evaluate, Export, LocalModel, ModelRef, Pretrained, RunSpec, Train
from rdrkd.training.parallel import check_batch
from rdrkd.training.plan import Plan
from rdrkd.training.preflight import check_plan


@dataclass(frozen=True)
class Inputs:
    """Local paths of the models and the dataset that a spec refers to by id.

    Attributes:
        cache: folder in which archives are unpacked once; by default the run folder.
        device: `cpu`, a CUDA index, None for the GPU where there is one, or a list to train on (`0,1`; `cpu,cpu`), of
            which the first runs the evaluation.
        reading: how to read the dataset's archive, the same as in its check.
    """

    teacher: Path | None = None
    student: Path | None = None
    model: Path | None = None
    dataset: Path | None = None
    cache: Path | None = None
    device: str | None = None
    reading: Reading = AS_IT_IS


def open_models(
    spec: RunSpec, inputs: Inputs, devices: tuple[str, ...], resumed: Sequence[Path]
) -> Plan | LoadedModel | None:
    """Open the models of a spec, and refuse what cannot work on these devices or with any dataset.

    Args:
        spec: the run's spec.
        inputs: local paths of its references.
        devices: as returned by `devices_of`.
        resumed: checkpoints that the run resumes from.

    Returns:
        The plan of a training; the model of an evaluation or export; None for a kind of run without models.

    Raises:
        SpecError, MachineError, ModelError, TeacherError, PairError: it cannot work.
    """
    if isinstance(spec, Export):
        device_of(spec.export, devices[0])
    if isinstance(spec, Evaluate | Export):
        return load_weights(path_of(spec.model, inputs.model, "model"))
    if not isinstance(spec, Distill | Train):
        return None
    if not resumed:  # a resumed run may have a smaller batch
        check_batch(spec.train.batch, len(devices))
    plan = _plan(spec, inputs)
    check_plan(plan, devices)
    return plan


def check_classes(spec: RunSpec, opened: Plan | LoadedModel | None, dataset: Dataset, ranks: int = 1) -> None:
    """Refuse models of other classes than the dataset's, and a dataset that the run cannot use.

    Args:
        spec: the run's spec.
        opened: as returned by `open_models`.
        dataset: the run's dataset.
        ranks: devices that share each batch.

    Raises:
        PairError, DatasetError, SpecError: they do not fit.
    """
    if isinstance(opened, Plan):
        if missing := [split for split in ("train", "val") if split not in dataset.splits]:
            raise DatasetError(
                f"expected a dataset with the splits train and val, got none called {' or '.join(missing)}"
            )
        if (detail := opened.settings.lone_image(len(dataset.splits["train"]), ranks)) is not None:
            raise SpecError(f"train.imgsz: {detail}", [Problem("/train/imgsz", detail)])
    match spec, opened:
        case _, Plan(teacher=LoadedModel() as teacher) as plan:
            check_teacher(teacher, SINGLE if plan.settings.single_cls else dataset.names)
        case Evaluate() as job, LoadedModel() as model:
            check_pair(model.names, dataset, job.evaluation.split)
        case Export() as job, LoadedModel() as model:
            check_pair(model.names, dataset, job.export.split)


def _plan(spec: Distill | Train, inputs: Inputs) -> Plan:
    if isinstance(spec, Train):
        return Plan(_start(spec.model, inputs.model, "model"), spec.train)
    student = _start(spec.student, inputs.student, "student")
    if not spec.distillation.recipe.terms:  # the preset `none`: the student alone
        return Plan(student, spec.train)
    try:
        teacher = load_weights(path_of(spec.teacher, inputs.teacher, "teacher"))
    except ModelError as error:
        problems = error.problems or [Problem("/teacher", str(error))]
        raise TeacherError(f"the teacher cannot be loaded: {error}", problems) from error
    return Plan(student, spec.train, teacher, spec.distillation.recipe)


def _start(reference: ModelRef, given: Path | None, field: str) -> str | LoadedModel:
    if isinstance(reference, Architecture):
        return str(reference.architecture)
    return load_weights(path_of(reference, given, field))


def path_of(reference: ModelRef, given: Path | None, field: str) -> Path:
    """Return the path of a model's weights: given for this machine, from the spec, or downloaded official ones.

    Raises:
        SpecError: the reference is an id, and no path was given.
        ModelError: official weights cannot be downloaded.
    """
    if given is not None:
        return given
    if isinstance(reference, LocalModel):
        return Path(reference.path)
    if isinstance(reference, Pretrained):
        return pretrained.fetch(reference.architecture, pretrained.own_folder(), pretrained.source())
    raise SpecError(
        f"expected the path of the {field}'s weights (--{field} PATH), got only an id",
        [Problem(f"/{field}", "an id; this machine needs a path")],
    )
