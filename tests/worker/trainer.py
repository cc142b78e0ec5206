"""A tiny program that speaks the trainer's protocol without training: it counts epochs, and misbehaves on request.

`python trainer.py <kind> spec.json --run-dir DIR ...`; the spec's labels say what to do.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from rdrkd.process.die_with_parent import die_with_parent


def emit(event: str, **values: object) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


def convert(path: Path, folder: Path) -> None:
    """What `--convert` does: a sound model in the other format."""
    folder.mkdir()
    (folder / ("student.safetensors" if path.suffix == ".pt" else "student.pt")).write_text("converted")


def inspect(path: Path) -> None:
    """What `inspect FILE --json` does: the file's content says how it goes."""
    match path.read_text():
        case "good":
            print(json.dumps({"kind": "dataset", "ok": True, "sha256": "", "size": 4, "problems": []}))
        case "bad":
            problem = {"where": "labels/1.txt:3", "detail": "expected a class id below 3, got 7"}
            print(json.dumps({"kind": "dataset", "ok": False, "sha256": "", "size": 3, "problems": [problem]}))
        case "crash":
            sys.exit("IndexError: something nobody thought of in /srv/secret/place/file.py")
        case "hungry":
            restricted()
            blob = bytearray(2**30)
            print(len(blob))
        case "verbose":
            restricted()
            Path("big").write_bytes(bytes(2**22))
        case "sleep":
            time.sleep(60)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)


def restricted() -> None:
    """Wait until the worker's limits are in force: a real inspection has the same ones of its own at once."""
    while resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        time.sleep(0.01)


def checkpoint(run_dir: Path, epoch: int, note: str, ballast: int) -> None:
    folder = run_dir / "checkpoints" / f"{epoch:04d}"
    folder.mkdir(parents=True)
    (folder / "state.pt").write_text(json.dumps({"epoch": epoch, "note": note}))
    (folder / "student.pt").write_text(f"student of epoch {epoch}, {note}" + " " * ballast)
    (run_dir / "student.pt").write_text(f"student of epoch {epoch}, {note}")
    files = ["state.pt", "student.pt"]
    emit("checkpoint", epoch=epoch, folder=f"checkpoints/{epoch:04d}", files=files, is_best=True)


def train(spec: dict, run_dir: Path) -> None:
    do = spec["labels"]
    stop = []
    if "deaf" not in do:
        signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "grandchild" in do:
        child = subprocess.Popen(["sleep", "300"])
        (run_dir / "trainer.log.pids").write_text(f"{os.getpid()} {child.pid}")
    if "environment" in do:
        emit("resolved", resolved_spec={"environment": dict(os.environ), "argv": sys.argv})
    if "garbage" in do:
        print("this is no event")
        print('{"event": "progress", "phase": "dancing"}')
        print("x" * 3_000_000)
    if "line" in do:  # an event as the test words it, once a checkpoint is there
        checkpoint(run_dir, 1, "before the line", 0)
        print(do["line"], flush=True)
        time.sleep(0 if "over" in do else 60)
        sys.exit(3)
    if "progress" in do:
        emit("progress", phase="training", completed=int(do["progress"]), epoch=int(do["progress"]))
    if "full" in do and run_dir.name == "attempt-1":  # the disk is full, the first time
        emit("failed", reason="disk_full", message="no space left to write a checkpoint")
        sys.exit(3)
    if "calibrate" in do:  # by a run's calibration, the weights of the resolved spec change under way
        for weight in (1.0, 0.25):
            emit("resolved", resolved_spec={"distillation": {"losses": [{"name": "ld", "weight": weight}]}})
            if weight == 1.0:
                emit("calibrated", weights={"ld": 0.25}, measured=20)
    for number in range(int(do.get("warn", 0))):
        emit("warning", code="dataset", message=f"look at {run_dir}/images: \0 nothing")
        emit("warning", code="term_weak", message=f"weak, {number}", epoch=number + 1)
    for name in do.get("tells", "").split():  # what a run writes into its folder as it goes
        (run_dir / name).write_text(f"{name} so far")
    if "swells" in do:
        with (run_dir / do["swells"]).open("wb") as file:
            file.truncate(2**25 + 1)
    if "link" in do:
        (run_dir / "report.html").symlink_to("/etc/hostname")
    done = [int(path.name) for path in (run_dir / "checkpoints").glob("*")]
    note = f"resumed after {max(done)}" if done else "from scratch"
    epochs = spec["train"]["epochs"]
    for epoch in range(max(done, default=0) + 1, epochs + 1):
        if "chatty" in do:
            print(f"epoch {epoch}: see {run_dir}/train.py \0", file=sys.stderr, flush=True)
        emit("progress", phase="training", completed=epoch, total=epochs, epoch=epoch, epochs=epochs)
        seconds = float(do.get("seconds", 0.05))
        if do.get("holds") == str(epoch) and run_dir.name == "attempt-1":  # until it is stopped
            seconds = 60
        until = time.monotonic() + seconds
        while time.monotonic() < until and not stop:
            time.sleep(0.02)
        if stop:
            emit("stopped", epoch=epoch)
            sys.exit(75)
        emit(
            "epoch", epoch=epoch, epochs=epochs, losses={"box": 1.0 / epoch}, lr=0.01, metrics={"mAP50": 5.0}, seconds=1
        )
        if do.get("escape") == str(epoch):
            emit("checkpoint", epoch=epoch, folder="..", files=["job.json"], is_best=False)
        if do.get("swarm") == str(epoch):
            emit("checkpoint", epoch=epoch, folder=".", files=["job.json"] * 10_000, is_best=False)
        checkpoint(run_dir, epoch, note, int(do.get("ballast", 0)))
        if do.get("crash") == str(epoch):
            print(f"ZeroDivisionError in {run_dir}/train.py", file=sys.stderr)
            os._exit(1)
        if do.get("oom") == str(epoch):
            os.kill(os.getpid(), signal.SIGKILL)
        if do.get("fail") == str(epoch):
            message = f"the loss left the finite numbers in {run_dir}/x"
            problems = []
            if says := do.get("says", "").replace("\ufffe", "\0"):  # which no label can hold
                message, problems = f"{message}: {says}", [{"where": "\0", "detail": "\0"}]
            emit("failed", reason="nan_loss", message=message, problems=problems)
            sys.exit(3)
    for name in do.get("leaves", "").split():  # what a run writes into its folder by the end
        (run_dir / name).write_text(f"{name} at the end")
    result = {"kind": spec["kind"], "best_epoch": epochs, "note": note}
    (run_dir / "result.json").write_text(json.dumps(result))
    emit("done", result=result)


if __name__ == "__main__":
    die_with_parent()
    if sys.argv[1] == "inspect":
        if "--convert" in sys.argv and Path(sys.argv[2]).read_text() == "good":
            convert(Path(sys.argv[2]), Path(sys.argv[sys.argv.index("--convert") + 1]))
        inspect(Path(sys.argv[2]))
    else:
        train(json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[4]))
