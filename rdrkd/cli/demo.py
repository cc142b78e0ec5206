"""`rdrkd demo`: the whole pipeline through the REST service, with a teacher that has seen many more scenes.

It draws scenes, starts the embedded service, uploads the dataset, trains a teacher, and in a second job distils a
student from it and trains the same student alone; it downloads the weights and shows the comparison and a picture.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from rdrkd.cli.comparison import show_details, show_verdict
from rdrkd.cli.epoch_words import place_in_view, words_of
from rdrkd.client import Client, Job
from rdrkd.errors import RdrkdError
from rdrkd.events import EXIT_DONE
from rdrkd.figures import duration, percent
from rdrkd.files import claim
from rdrkd.process.die_with_parent import follow_parent

if TYPE_CHECKING:
    from rdrkd.data.scenes import Profile

IMGSZ = 96  # px
PROFILE: "Profile" = "shapes"
SEED = 0
TEACHER, STUDENT = "yolov8n", "yolov8n-half"
# Many small steps: on so few images, a larger batch leaves the network half-trained after the same number of epochs.
RECIPE = {
    "imgsz": IMGSZ, "batch": 8, "nbs": 8, "optimizer": "AdamW", "lr0": 0.004, "warmup_epochs": 1.0, "mosaic": 0.0,
    "close_mosaic": 0, "cache": "ram", "seed": SEED,
}  # fmt: skip
LONGEST_SECONDS = 1800  # for all jobs together, on the slowest machine
HONESTY = (
    "These are synthetic scenes and very short trainings: the student has labels for an eighth of the scenes that the "
    "teacher has learnt from, and as many epochs with as without the teacher, though not as much time. On your data, "
    "the gain may be smaller or absent: measure it there, with several seeds (`rdrkd study`)."
)


@dataclass(frozen=True)
class Size:
    """Sizes of the demo; the default takes less than five minutes on two cores."""

    train: int = 1200  # scenes
    val: int = 96
    teacher_epochs: int = 3
    epochs: int = 10  # of the students
    fraction: float = 0.125  # of the scenes, for the students


class DemoError(RdrkdError):
    """A step of the demo failed."""


def demo(output: Path, size: Size | None = None, console: Console | None = None) -> int:
    """Run the whole pipeline; write scenes, weights and `detections.png` to `output`.

    Raises:
        DemoError: the service did not start, or an upload or a job failed.
    """
    console, size = console or Console(), size or Size()
    started = time.monotonic()
    claim(output, "demo folder")  # its parts are replaced below
    archive = _draw_scenes(output, size, console)
    with _service(output / "service", console) as url, Client(url) as api:
        dataset = _upload(api, archive, console)
        jobs = _submit(api, dataset, size)
        results = _follow(api, jobs, console)
        weights = {name: api.download_weights(jobs[name], output / f"{name}.pt") for name in ("teacher", "student")}
        weights["alone"] = api.download_artifact(jobs["student"], "alone.pt", output / "alone.pt")
    shutil.rmtree(output / "service")
    comparison = results["student"]["comparison"]
    picture = _picture(output, weights, comparison)
    console.print()
    show_details(comparison, console)
    show_verdict(results["student"], console)
    console.print(HONESTY, style="yellow")
    console.print(f"Student: [bold]{weights['student']}[/] (plain Ultralytics)   Detections: [bold]{picture}[/]")
    console.print(f"Done in {duration(time.monotonic() - started)}.")
    return EXIT_DONE


def _draw_scenes(output: Path, size: Size, console: Console) -> Path:
    """Write the scenes and zip them, replacing earlier ones."""
    from rdrkd.data.scenes import write_scenes

    folder = output / "scenes"
    shutil.rmtree(folder, ignore_errors=True)
    with console.status(f"Drawing {size.train + size.val} scenes"):
        write_scenes(folder, PROFILE, {"train": size.train, "val": size.val}, IMGSZ, SEED)
        return Path(shutil.make_archive(str(folder), "zip", folder))


# -- the service and its jobs


@contextmanager
def _service(data_dir: Path, console: Console) -> Iterator[str]:
    """Run the embedded service on a free port; its folder is kept only if something fails."""
    shutil.rmtree(data_dir, ignore_errors=True)
    data_dir.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = [sys.executable, "-m", "rdrkd", "up", "--data-dir", str(data_dir), "--port", str(port)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RDRKD_")}
    with (data_dir / "up.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            preexec_fn=_follow_demo,  # noqa: PLW1509 - no other thread runs here
        )  # fmt: skip
    try:
        with console.status("Starting the service"):
            _await_ready(process, f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    except BaseException:
        console.print(f"[red]Not finished.[/] The service's logs are in {data_dir}")
        raise
    finally:
        process.terminate()
        process.wait(timeout=60)


def _follow_demo() -> None:
    import signal

    follow_parent(signal.SIGTERM)


def _await_ready(process: "subprocess.Popen[bytes]", url: str) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise DemoError(f"expected the service to start, got exit status {process.returncode}")
        try:
            if httpx2.get(f"{url}/readyz", trust_env=False).is_success:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise DemoError("expected the service to be ready within 60 s, got none")


def _upload(api: Client, archive: Path, console: Console) -> str:
    """Upload the dataset and wait until a worker has checked it; return its id."""
    with console.status("Uploading the dataset, and a worker checks it"):
        row = api.wait_dataset(api.upload_dataset(archive).id)
    if row.status != "ready":
        raise DemoError(f"expected a dataset that is ready, got {row.status}: {row.problems}")
    console.print(f"Dataset [bold]{row.id}[/] is ready")
    return row.id


def _submit(api: Client, dataset: str, size: Size) -> dict[str, str]:
    """Queue both jobs at once, since the service lets the distillation wait for its teacher; return job ids by name."""
    base = {"dataset": dataset, "train": {**RECIPE, "epochs": size.epochs, "fraction": size.fraction}}
    train = {**RECIPE, "epochs": size.teacher_epochs}
    student = {"architecture": STUDENT}
    teacher = {**base, "kind": "train", "name": "teacher", "model": {"architecture": TEACHER}, "train": train}
    jobs = {"teacher": api.submit(teacher).id}
    pair = {"teacher": {"job": jobs["teacher"]}, "student": student, "baseline": True}
    jobs["student"] = api.submit({**base, "kind": "distill", "name": "student", **pair}).id
    return jobs


def _follow(api: Client, jobs: Mapping[str, str], console: Console) -> dict[str, Any]:
    """Poll the jobs until all have succeeded, drawing a bar for each; return their results by name."""
    end = time.monotonic() + LONGEST_SECONDS
    results: dict[str, Any] = {}
    columns = (
        TextColumn("{task.description:>14}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bars = {name: progress.add_task(name, total=1.0, note="queued", start=False) for name in jobs}
        while len(results) < len(jobs):
            if time.monotonic() > end:
                raise DemoError(f"expected all jobs to end within {LONGEST_SECONDS} s, got {sorted(results)} done")
            for name in jobs.keys() - results.keys():
                job = api.job(jobs[name])
                _draw(progress, bars[name], job.model_dump(mode="json"))
                if job.ended:
                    results[name] = _result(name, job)
            time.sleep(0.5)
    return results


def _draw(progress: Progress, bar: TaskID, job: Mapping[str, Any]) -> None:
    note = job["status"] if job["phase"] is None else f"{job['status']}, {job['phase']}"
    done = 0.0
    if job["status"] == "succeeded":
        done, note = 1.0, f"AP50 {percent(job['result']['metrics']['coco']['AP50'])} %"
        progress.stop_task(bar)
    elif job["epoch"]:
        part = job["progress"] or {}
        done = (job["epoch"] - 1 + part.get("completed", 0) / (part.get("total") or 1)) / job["epochs"]
        note = words_of(place_in_view(job), bool(job["spec"].get("baseline")))
    elif job["status"] == "queued" and job["waiting_for"]:
        note = "queued, " + job["waiting_for"][0]["detail"]
    if job["started_at"] and progress.tasks[bar].start_time is None:
        progress.start_task(bar)
    task = progress.tasks[bar]
    if not progress.console.is_terminal and note != task.fields["note"]:
        progress.console.print(f"{task.description}: {note}", highlight=False)
    progress.update(bar, completed=done, note=note)


def _result(name: str, job: Job) -> dict[str, Any]:
    if job.status != "succeeded" or job.result is None:
        raise DemoError(f"expected the {name} to succeed, got {job.status} ({job.reason}): {job.message}")
    return job.result


# -- the picture


def _picture(output: Path, weights: Mapping[str, Path], comparison: Mapping[str, Any]) -> Path:
    """Draw each network's detections in some scenes, at the confidence of its best F1, beside the ground truth."""
    from rdrkd.data import open_dataset
    from rdrkd.evaluation.operating_points import threshold_of
    from rdrkd.evaluation.pictures import Drawn, compare

    scenes = open_dataset(output / "scenes", output / "scenes")
    networks = {who: Drawn(weights[who], threshold_of(comparison[who])) for who in ("teacher", "alone", "student")}
    return compare(scenes, networks, output / "detections.png", IMGSZ)
