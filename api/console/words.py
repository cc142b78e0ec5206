"""The console's sentences about a job: its state and the reason."""

import re
from typing import Any

from rdrkd.epochs import ALONE, CALLED
from rdrkd.figures import duration

ID = r"(?:job|ds|mdl|stu)_[0-9a-f]{32}"
RUNNING = ("starting", "running", "pausing", "cancelling")
ENDED = ("succeeded", "failed", "cancelled")
TONES = {"succeeded": "good", "failed": "bad", "cancelled": "quiet", "paused": "held", "pausing": "held"}
TONES |= dict.fromkeys(("queued", "cancelling"), "quiet") | dict.fromkeys(("starting", "running"), "busy")
FIGURES = {  # in percent, by the COCO protocol
    "AP_S": "AP of objects below 32 × 32 px",
    "AP": "average precision, mean over IoU 0.5 to 0.95",
    "AP50": "average precision at IoU 0.5",
    "AP75": "average precision at IoU 0.75",
    "AP_M": "AP of objects from 32 × 32 to 96 × 96 px",
    "AP_L": "AP of objects above 96 × 96 px",
}
REASONS = {
    "user_cancelled": "its owner cancelled it",
    "timeout": "it ran longer than its own time limit",
    "deadline_exceeded": "it had not ended by its deadline",
    "oom_cuda": "the GPU had not enough memory: a smaller batch or image size needs less",
    "oom_host": "the machine had not enough memory",
    "dataset_invalid": "the dataset cannot be trained on",
    "model_invalid": "a model file cannot be used",
    "incompatible_pair": "teacher and student do not fit each other, or a loss term",
    "teacher_load_failed": "the teacher could not be loaded",
    "term_inert": "a loss term never reached the student",
    "nan_loss": "the loss left the finite numbers and did not come back",
    "spec_invalid": "its settings were refused",
    "folder_unusable": "its run folder could not be used",
    "machine_unfit": "the machine lacks what it needs",
    "dependency_failed": "what it waited for did not become ready",
    "worker_lost": "it lost its worker too often",
    "disk_full": "the disk is full",
    "internal": "an error of the service: the log has more",
}


def sentence(job: dict[str, Any]) -> str:
    """Return a sentence on a job's state.

    >>> place = {"part": "student", "part_epoch": 3, "part_epochs": 8}
    >>> sentence({"status": "running", "phase": "training", **place, "eta_seconds": 60.0, "spec": {}})
    'Training, epoch 3 of 8, about 1 min 00 s left.'
    >>> sentence({"status": "failed", "reason": "disk_full", "message": None})
    'Failed: the disk is full.'
    """
    status = job["status"]
    if status == "queued":
        waiting = [str(each["detail"]) for each in job["waiting_for"]]
        return f"Queued: it {'; '.join(waiting)}." if waiting else "Queued: a worker takes it in a moment."
    if status in ("failed", "cancelled"):
        known = REASONS.get(job["reason"] or "", "")
        why = known if job["reason"] == "user_cancelled" else job["message"] or known
        return f"{status.capitalize()}{': ' + str(why).rstrip('.') if why else ''}."
    if status == "succeeded":
        took = (job["result"] or {}).get("seconds")
        if took is None:
            return "Finished."
        return (
            f"Finished in {duration(took)}."
            if job["attempt"] < 2
            else f"Finished; its last attempt took {duration(took)}."
        )
    if status == "paused":
        return "Paused: it keeps its checkpoints, and continues when it is resumed."
    begun = {"starting": "Starting", "pausing": "Pausing after this epoch", "cancelling": "Stopping"}
    words = [begun.get(status) or str(job["phase"] or "running").replace("_", " ").capitalize()]
    if job["part_epoch"]:
        words.append(f"epoch {job['part_epoch']} of {job['part_epochs']}{_whose(job)}")
    if job["eta_seconds"] is not None:
        words.append(f"about {duration(job['eta_seconds'])} left")
    return ", ".join(words) + "."


def _whose(job: dict[str, Any]) -> str:
    """Return in words whose epoch it is, for a job with a baseline.

    >>> _whose({"part": "alone", "spec": {"baseline": True}}), _whose({"part": "student", "spec": {}})
    (' of the student alone', '')
    """
    return f" of the {CALLED[job['part']]}" if job["spec"].get("baseline") else ""


def epoch_of(shown: dict[str, Any]) -> str:
    """Return the epoch of a file or warning, counted in its own training; a dash without one.

    >>> epoch_of({"part": "alone", "part_epoch": 3}), epoch_of({"part": None, "part_epoch": None})
    ('3 alone', '–')
    """
    return f"{shown['part_epoch']}{' alone' if shown['part'] == ALONE else ''}" if shown["part_epoch"] else "–"


def share_done(job: dict[str, Any]) -> float | None:
    """Return a job's progress, in percent; None if unknown.

    >>> share_done({"epoch": 3, "epochs": 8, "phase": "training", "progress": {"completed": 10, "total": 20}})
    31.25
    """
    progress = job["progress"] or {}
    part = progress.get("completed", 0) / progress["total"] if progress.get("total") else None
    if str(job["phase"]).startswith("training") and job["epoch"] and job["epochs"]:
        return float(100 * (job["epoch"] - 1 + (part or 0.0)) / job["epochs"])
    return None if part is None else 100 * part


def gist(job: dict[str, Any]) -> str:
    """Summarise a job in a few words: what it trains, and how.

    >>> gist({"kind": "train", "spec": {"model": {"architecture": "yolov8n"}, "train": {"epochs": 25, "imgsz": 320}}})
    'train yolov8n, 25 epochs at 320 px'
    >>> gist({"kind": "distill", "spec": {"student": {"architecture": "yolov8n-half"}, "teacher": {"job": "job_1"},
    ...       "distillation": {"preset": "rdr-kd"}}, "resolved_spec": None})
    'distill yolov8n-half by rdr-kd'
    """
    spec = job.get("resolved_spec") or job["spec"]
    words = [job["kind"]]
    network = spec.get("student") or spec.get("model") or {}
    words += [short_source(network)] if network else []
    if job["kind"] == "distill":
        words.append(f"by {(job['spec'].get('distillation') or {}).get('preset') or 'own terms'}")
    train = spec.get("train") or {}
    long = f"{train['epochs']} {'epoch' if train['epochs'] == 1 else 'epochs'}" if "epochs" in train else ""
    wide = f"at {train['imgsz']} px" if "imgsz" in train else ""
    how = " ".join(word for word in (long, wide) if word)
    return " ".join(words) + (f", {how}" if how else "")


def short_source(source: dict[str, Any]) -> str:
    """Return a short name for a network of a spec: its architecture, or the end of an id.

    >>> short_source({"architecture": "yolov8n"}), short_source({"job": "job_01a226babba47811bd8f715e8633b851"})
    ('yolov8n', 'job_…33b851')
    """
    name = str(
        source.get("architecture") or source.get("model") or source.get("job") or next(iter(source.values()), "")
    )
    return short(name) if re.fullmatch(ID, name) else name


def short(identity: str) -> str:
    """Shorten an id to its distinguishing part.

    >>> short("job_01a226babba47811bd8f715e8633b851")
    'job_…33b851'
    """
    prefix, separator, rest = identity.partition("_")
    return f"{prefix}_…{rest[-6:]}" if separator else prefix


def title(job: dict[str, Any]) -> str:
    """Return a job's title: its name, or its kind and the end of its id."""
    return str(job["name"] or f"{job['kind']} {job['id'][-6:]}")
