"""The library's errors. They know no HTTP; each carries the `Reason` under which a run that meets it ends.

RdrkdError
|-- SpecError              the job spec is refused
|-- FolderError            a run's folder cannot be used
|-- MachineError           the machine lacks what the run needs
|-- DatasetError           a dataset cannot be used
|-- ModelError             a model file cannot be used
|   `-- TeacherError       ... and it was the teacher
|-- PairError              teacher and student do not fit each other, or a loss
|-- TermInertError         an enabled term never reached the student
|-- NanLossError           the loss stayed non-finite
|-- DiskFullError          no space left for a checkpoint
|-- RankError              a rank of a training on several devices failed, for a reason that has no class here
`-- StopRequested          somebody asked the run to stop; not a failure
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from rdrkd.reasons import Reason


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input: where, and what was expected and what came."""

    where: str  # a JSON pointer, or `file:line`
    detail: str


class RdrkdError(Exception):
    """Base class; the message says what was expected and what was received."""

    reason = Reason.INTERNAL

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)

    @property
    def headline(self) -> str:
        """What is shown to a person above the problems."""
        return str(self)


class SpecError(RdrkdError):
    """The job spec is refused."""

    reason = Reason.SPEC_INVALID

    @classmethod
    def at(cls, where: str, detail: str) -> Self:
        """Return the refusal of one field or option, whose message is that of its only problem."""
        return cls(f"{where}: {detail}", [Problem(where, detail)])


class FolderError(RdrkdError):
    """A run's folder cannot be written, is in use, or holds something else than what is asked for."""

    reason = Reason.FOLDER_UNUSABLE


class MachineError(RdrkdError):
    """The machine lacks what the run needs: a device, a compiler, a package."""

    reason = Reason.MACHINE_UNFIT


class DatasetError(RdrkdError):
    """A dataset cannot be used; `advice` is what to do about it, empty where the message says all that is known."""

    reason = Reason.DATASET_INVALID

    def __init__(self, message: str, problems: Sequence[Problem] = (), advice: str = "") -> None:
        super().__init__(message, problems)
        self.advice = advice


class ModelError(RdrkdError):
    """A model file cannot be used."""

    reason = Reason.MODEL_INVALID


class TeacherError(ModelError):
    """The teacher cannot be loaded."""

    reason = Reason.TEACHER_LOAD_FAILED


class PairError(RdrkdError):
    """Teacher and student do not fit each other, or a loss of the spec."""

    reason = Reason.INCOMPATIBLE_PAIR


class TermInertError(RdrkdError):
    """An enabled loss term never reached the student with a gradient."""

    reason = Reason.TERM_INERT


class NanLossError(RdrkdError):
    """The loss stayed outside the finite numbers."""

    reason = Reason.NAN_LOSS


class DiskFullError(RdrkdError):
    """No space left to write a checkpoint."""

    reason = Reason.DISK_FULL


class RankError(RdrkdError):
    """A rank of a training on several devices failed, for a reason that has no class of its own."""

    def __init__(self, message: str, problems: Sequence[Problem] = (), reason: Reason = Reason.INTERNAL) -> None:
        super().__init__(message, problems)
        self.reason = reason


class StopRequested(RdrkdError):
    """Somebody asked the run to stop between two batches; the newest checkpoint is kept."""

    reason = Reason.USER_CANCELLED


def error_of(reason: Reason, message: str, problems: Sequence[Problem] = ()) -> RdrkdError:
    """Return the error under which another process of this run ended.

    >>> error_of(Reason.NAN_LOSS, "lost"), error_of(Reason.OOM_CUDA, "out of memory").reason.value
    (NanLossError('lost'), 'oom_cuda')
    """
    kind = _OF_REASON.get(reason)
    return kind(message, problems) if kind else RankError(message, problems, reason)


_KINDS = (
    SpecError, FolderError, MachineError, DatasetError, ModelError, TeacherError, PairError, TermInertError,
    NanLossError, DiskFullError,
)  # fmt: skip
_OF_REASON: dict[Reason, type[RdrkdError]] = {kind.reason: kind for kind in _KINDS}
