"""Check before the first step that a teacher can teach a student, and report why not."""

from collections.abc import Sequence

from rdrkd import pretrained
from rdrkd.errors import PairError, Problem
from rdrkd.figures import few
from rdrkd.models.head_split import widths
from rdrkd.models.weights import LoadedModel
from rdrkd.spec import Crosskd, HeadTerm, Term, Ultralytics
from rdrkd.ultralytics_adapter import DetectionModel


def check_pair(teacher: LoadedModel, student: DetectionModel, terms: Sequence[Term], imgsz: int) -> None:
    """Check classes, and each term's requirements on the heads; `levels_of` checks for missing levels.

    Args:
        teacher: the loaded teacher.
        student: the student, built for the dataset's classes.
        terms: the run's loss terms.
        imgsz: side of the network input, px.

    Raises:
        PairError: they do not fit; with every problem found.
    """
    problems = [*_classes(teacher, tuple(student.names.values())), *_image_size(student, imgsz)]
    if any(isinstance(term, HeadTerm) for term in terms):
        problems += _strides(teacher, student)
    for term in terms:
        problems += _needs(term, teacher, student)
    _refuse(problems)


def check_classes(teacher: LoadedModel, names: Sequence[str]) -> None:
    """Check that a teacher's classes are the dataset's, in the same order.

    Raises:
        PairError: they are not.
    """
    _refuse(_classes(teacher, tuple(names)))


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise PairError(f"teacher and student do not fit: {problems[0].detail}", problems)


def _classes(teacher: LoadedModel, names: tuple[str, ...]) -> list[Problem]:
    if teacher.names == names:
        return []
    if sorted(teacher.names) == sorted(names):
        detail = f"expected the teacher's classes in the dataset's order {list(names)}, got {list(teacher.names)}"
    else:
        advice = f"; {pretrained.ADVICE}" if len(teacher.names) == pretrained.CLASSES else ""
        detail = f"expected a teacher of the dataset's classes {few(names)}, got {few(teacher.names)}{advice}"
    return [Problem("/teacher", detail)]


def _image_size(student: DetectionModel, imgsz: int) -> list[Problem]:
    largest = int(student.stride.max())
    if imgsz % largest == 0:
        return []
    return [Problem("/train/imgsz", f"expected a multiple of the student's stride {largest}, got {imgsz}")]


def _strides(teacher: LoadedModel, student: DetectionModel) -> list[Problem]:
    own = [int(stride) for stride in student.stride]
    if teacher.strides == own:
        return []
    return [Problem("/student", f"expected the teacher's head strides {teacher.strides}, got {own}")]


def _needs(term: Term, teacher: LoadedModel, student: DetectionModel) -> list[Problem]:
    """Return the unmet requirements of one term."""
    where = f"/distillation/losses/{term.name}"
    problems = []
    if isinstance(term, HeadTerm):
        distances = teacher.head.reg_max, student.model[-1].reg_max
        if term.needs_distribution and (min(distances) < 2 or distances[0] != distances[1]):
            detail = (
                "expected heads that predict distributions over equally many distances (DFL, reg_max > 1), "
                f"got reg_max {distances[0]} of the teacher and {distances[1]} of the student"
            )
            problems.append(Problem(where, detail))
        if len(student.names) < term.least_classes:
            detail = (
                f"expected at least {term.least_classes} classes for a softmax, got {len(student.names)}; "
                "`constant_logit: true` appends a logit to compare with"
            )
            problems.append(Problem(where, detail))
    if isinstance(term, Crosskd):
        problems += _crossing(term, where, teacher, student)
    if isinstance(term, Ultralytics) and (missing := set(term.levels) - set(teacher.strides)):
        detail = f"expected levels of the teacher's head, strides {teacher.strides}, got also {sorted(missing)}"
        problems.append(Problem(f"{where}/levels", detail))
    return problems


def _crossing(term: Crosskd, where: str, teacher: LoadedModel, student: DetectionModel) -> list[Problem]:
    """Return the unmet requirements of passing the student's maps to the teacher's head."""
    problems = []
    if term.box_loss == "kl" and teacher.head.reg_max < 2:
        detail = (
            "expected a teacher that predicts distributions over distances (DFL, reg_max > 1) for `kl`, "
            f"got reg_max {teacher.head.reg_max}; `giou` needs none"
        )
        problems.append(Problem(f"{where}/box_loss", detail))
    if term.mapper == "none":
        of_teacher, of_student = (widths(head, term.split)["one2many"] for head in (teacher.head, student.model[-1]))
        for kind in of_teacher:
            if of_teacher[kind] != of_student[kind]:
                detail = (
                    f"expected heads whose maps for {kind} are equally wide where `mapper` is `none`, got channels "
                    f"{of_teacher[kind]} of the teacher and {of_student[kind]} of the student; `conv` maps them"
                )
                problems.append(Problem(f"{where}/mapper", detail))
    return problems
