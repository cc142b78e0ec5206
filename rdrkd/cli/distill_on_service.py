"""Choose the settings of `rdrkd jobs submit` for a service, from the facts that it knows."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrkd.cli import distill_inputs
from rdrkd.cli.checked_uploads import Uploaded, reports_on
from rdrkd.cli.choices import Facts
from rdrkd.cli.distill_options import all_choices, lines_of, preset_choice, spec_of, validated

if TYPE_CHECKING:
    from rdrkd.client import Client


def chosen_for(options: Mapping[str, Any], service: "Client", tell: Callable[[str], None]) -> dict[str, Any]:
    """Upload the files that the service lacks, choose the settings that were not given, and return the job's spec.

    Raises:
        SpecError: a file cannot be used, the service's check has refused it, or an option is refused.
    """
    from rdrkd.cli.inputs import Sender

    teacher, student, data = distill_inputs.on_service(options, service)
    sender = Sender(service, Path(), tell)
    teacher, student = sender.reference(teacher, "--teacher"), sender.reference(student, "--student")
    dataset = sender.dataset(data, "--data")
    used = {"data": dataset, "teacher": teacher.get("model"), "student": student.get("model")}
    reports = reports_on(
        [Uploaded(f"--{option}", str(options[option]), id_) for option, id_ in used.items() if id_], service, tell
    )
    choices = all_choices(_facts_of(service, teacher, student, reports), options)
    for line in lines_of([*choices, preset_choice(options.get("preset"))]):
        tell(line)
    content = spec_of(teacher, student, dataset, options, choices)
    validated(content)
    return content


def _facts_of(
    service: "Client", teacher: Mapping[str, Any], student: Mapping[str, Any], reports: Mapping[str, Mapping[str, Any]]
) -> Facts:
    """Return the facts that the service knows: its reports by option, and the devices of its workers."""
    from rdrkd import pretrained

    report = reports["--data"]
    if "job" in teacher:
        imgsz = service.job(teacher["job"]).spec.get("train", {}).get("imgsz")
    elif "pretrained" in teacher:
        imgsz = pretrained.IMGSZ
    else:
        imgsz = reports["--teacher"].get("imgsz")
    trainers = [worker for worker in service.workers() if worker["queue"] == "train" and worker["alive"]]
    gpus = [device for worker in trainers for device in worker["devices"]]
    return Facts(
        images=report.get("statistics", {}).get("splits", {}).get("train", {}).get("images"),
        classes=len(report.get("names") or ()) or None,
        teacher_imgsz=imgsz,
        student=student.get("architecture"),
        cores=min(worker["cpus"] for worker in trainers) if trainers and not gpus else None,
        gpu_bytes=min(device["memory"] for device in gpus) if gpus else None,
    )
