"""Why a run ended: one machine-readable word, the same in the library, on the wire and in the database."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a run did not succeed; each member's comment explains it."""

    USER_CANCELLED = "user_cancelled"  # the owner asked for it
    TIMEOUT = "timeout"  # ran past its own timeout_seconds
    DEADLINE_EXCEEDED = "deadline_exceeded"  # had not ended by its deadline
    OOM_CUDA = "oom_cuda"  # the GPU ran out of memory
    OOM_HOST = "oom_host"  # the machine ran out of memory
    DATASET_INVALID = "dataset_invalid"  # the dataset cannot be trained on
    MODEL_INVALID = "model_invalid"  # a model file cannot be used
    INCOMPATIBLE_PAIR = "incompatible_pair"  # teacher and student do not fit each other or a loss
    TEACHER_LOAD_FAILED = "teacher_load_failed"  # the teacher could not be loaded
    TERM_INERT = "term_inert"  # an enabled loss term never reached the student
    NAN_LOSS = "nan_loss"  # the loss stayed non-finite
    SPEC_INVALID = "spec_invalid"  # the job spec is refused
    FOLDER_UNUSABLE = "folder_unusable"  # the run's folder cannot be written, is in use, or holds something else
    MACHINE_UNFIT = "machine_unfit"  # the machine lacks what the run needs: a device, a compiler, a package
    DEPENDENCY_FAILED = "dependency_failed"  # a job, model or dataset that this job waits for did not become ready
    WORKER_LOST = "worker_lost"  # the job lost its worker more often than its limit allows
    DISK_FULL = "disk_full"  # no space left to write a checkpoint
    INTERNAL = "internal"  # an error of ours; the log has the traceback
