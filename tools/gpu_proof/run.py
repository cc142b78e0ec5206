"""Run the tests, measure the cost of a step, and measure the gain of distillation on a GPU, within a time budget.

Usage: `python tools/gpu_proof/run.py [--seconds 840] [--pieces build/gpu-proof | --dataset FILE] [--out FOLDER]`.

Without a GPU, or with `--toy`, the same stages run on the CPU in toy size. Each stage is stopped at its share of the
time, and a failed stage does not stop the others. `proof.json` is rewritten after each stage, and the results of a
stage are copied while it runs, so that little is lost with the machine. The script needs only Python; the wheels in the
pieces are installed into a separate folder.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STAGES = ["tests", "bench", "study"]
METHODS = ["none", "rdr-kd", "ultralytics", "pkd+dkd"]
GRACE = 20.0  # seconds between the end of a stage's share and its kill
LOOK = 0.5  # seconds between polls of a stage


@dataclass(frozen=True)
class Size:
    """The differences between the proof on a GPU and the toy on a CPU."""

    device: str
    teacher: str
    imgsz: int
    batch: int
    amp: str | bool
    jobs: int
    most_epochs: int
    tests: float  # shares of the time, seconds out of 840
    bench: float
    everything: float
    teacher_share: float
    rounds: int
    grace: float  # seconds for the study's report
    guess: float  # seconds of an epoch of the teacher, if it cannot be measured


REAL = Size("0", "yolov8l", 640, 32, "bf16", 8, 40, 90, 35, 55, 180, 15, 60, 10)
TOY = Size("cpu", "yolov8n", 64, 4, False, 2, 2, 150, 40, 15, 200, 3, 100, 5)


class Proof:
    """Runs the stages in order, and keeps their results."""

    def __init__(self, options: argparse.Namespace, size: Size) -> None:
        self.options, self.size = options, size
        self.out: Path = options.out.resolve()
        self.work = self.out / "work"
        self.began, self.until = time.monotonic(), time.monotonic() + options.seconds
        self.scale = options.seconds / 840
        self.site = self.work / "site"
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        path = os.pathsep.join([str(self.site), str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        self.environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        self.report: dict[str, Any] = {
            "command": shlex.join(sys.argv), "seconds": options.seconds, "toy": size is TOY, "size": asdict(size),
            "stages": [],
        }  # fmt: skip

    def run(self) -> int:
        """Run every stage; return 1 if one failed."""
        dataset = self.guarded("pieces", self.join) or self.options.dataset
        self.report["versions"] = self.versions()
        if dataset is None:
            self.stage("scenes", ["-m", "rdrkd", "scenes", str(self.work / "scenes"), "--profile", "demo",
                                  "--images", "12", "--val-images", "4", "--imgsz", "96"], 60)  # fmt: skip
            dataset = next(self.work.glob("scenes/**/*.yaml"), None)
        pytest = ["-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", "--tb=short", "-q"]
        files = [p for p in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in p.read_text()]
        self.only("tests", [*pytest, *map(str, files)], self.size.tests)
        bench = ["-m", "rdrkd", "bench", "--device", self.size.device, "--rounds", str(self.size.rounds), "--output"]
        # The four kinds first: `--everything` may be stopped before it writes its results.
        self.only("bench", [*bench, str(self.work / "bench")], self.size.bench)
        self.only("bench-everything", [*bench, str(self.work / "bench-everything"), "--everything"],
                   self.size.everything)  # fmt: skip
        if "study" in self.options.only:
            self.guarded("study", lambda: self.study(Path(dataset)) if dataset else "no dataset")
        self.save()
        return int(any(stage["status"] == "failed" for stage in self.report["stages"]))

    def only(self, name: str, arguments: list[str], share: float) -> None:
        """Run a stage, if it is selected."""
        if name.split("-")[0] in self.options.only:
            self.stage(name, arguments, share)

    def join(self) -> Path | None:
        """Join the pieces, check their hashes, install the wheels; return the dataset."""
        if self.options.pieces is None:
            return None
        manifest = json.loads(next(self.options.pieces.glob("piece-*/manifest.json")).read_text())
        dataset = None
        wheels = self.work / "wheels"
        wheels.mkdir()
        for entry in manifest:
            target = (wheels if entry["file"].endswith(".whl") else self.work) / entry["file"]
            content = b"".join((self.options.pieces / part).read_bytes() for part in entry["parts"])
            if hashlib.sha256(content).hexdigest() != entry["sha256"]:
                raise ValueError(f"expected the sha256 {entry['sha256']} of {entry['file']}, got another content")
            target.write_bytes(content)
            dataset = dataset if target.parent == wheels else target
        pip = ["-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir"]
        self.stage("install", [*pip, "--target", str(self.site), *map(str, wheels.iterdir())], 120)
        return dataset

    def study(self, dataset: Path) -> None:
        """Measure an epoch of the teacher, choose lengths that fit, and run the study in the remaining time."""
        size = self.size
        train = {"imgsz": size.imgsz, "batch": size.batch, "nbs": size.batch, "amp": size.amp, "cache": "ram",
                 "optimizer": "SGD", "lr0": 0.01, "workers": 4 if size is REAL else 0}  # fmt: skip
        spec = {"kind": "train", "model": {"architecture": size.teacher}, "dataset": str(dataset.resolve()),
                "train": {**train, "epochs": 2}}  # fmt: skip
        file, folder = self.work / "probe.json", self.work / "probe"
        file.write_text(json.dumps(spec))
        cache = ["--cache", str(self.work / "cache"), "--device", size.device]
        self.stage("probe", ["-m", "rdrkd", "train", str(file), "--run-dir", str(folder), *cache], size.teacher_share)
        epoch = self.guarded("probe-times", lambda: _epoch_seconds(folder)) or size.guess
        left = self.until - time.monotonic() - size.grace * self.scale
        teacher = self.epochs(min(size.teacher_share * self.scale, left / 3) / epoch)
        # A student's step with the teacher's forward pass costs about half a step of the teacher alone; several members
        # share the GPU. A round of methods should take a third of the time that remains after the teacher.
        members = self.epochs((left - teacher * epoch) / 3 / (epoch * 0.5 * len(METHODS)))
        self.report["lengths"] = {"teacher_epoch_seconds": epoch, "teacher": teacher, "members": members}
        student = {**train, "batch": max(4, size.batch // 2), "nbs": max(4, size.batch // 2)}
        study = {
            "name": "gpu-proof", "dataset": str(dataset.resolve()),
            "teacher": {"model": {"architecture": size.teacher}, "train": {**train, "epochs": teacher, "seed": 0}},
            "student": {"architecture": "yolov8n"}, "methods": METHODS,
            "seeds": list(range(1, 2 if size is TOY else 11)),
            "decide": {"metric": "AP", "least": 0.3, "interval": "above 0"}, "train": {**student, "epochs": members},
        }  # fmt: skip
        spec_file = self.work / "study.json"
        spec_file.write_text(json.dumps(study))
        left = self.until - time.monotonic()
        minutes = max(0.2, left - size.grace * self.scale) / 60
        self.stage(
            "members",
            ["-m", "rdrkd", "study", "run", str(spec_file), "--out", str(self.work / "study"), "--device", size.device,
             "--jobs", str(size.jobs), "--minutes", f"{minutes:.2f}"],
            left / self.scale, stopped=75,
        )  # fmt: skip

    def epochs(self, number: float) -> int:
        """Return a valid number of epochs for a schedule."""
        return max(1, min(self.size.most_epochs, int(number)))

    def guarded(self, name: str, work: Any) -> Any:
        """Run `work`, and record a failure without ending the proof."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - the other stages are worth their time
            self.record(name, "failed", 0.0, f"{type(error).__name__}: {error}")
            return None

    def stage(self, name: str, arguments: list[str], share: float, stopped: int | None = None) -> None:
        """Run a command within its share of the time.

        Args:
            name: name of its log.
            arguments: arguments of this Python.
            share: seconds out of 840.
            stopped: exit status of a stage that stopped because its time was up.
        """
        began, limit = time.monotonic(), min(share * self.scale, self.until - time.monotonic())
        if limit <= 0:
            self.record(name, "cut", 0.0, "no time left")
            return
        log = self.out / f"{name}.log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, *arguments], cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            cut = False
            while child.poll() is None and not cut:
                time.sleep(LOOK)
                self.collect()
                cut = time.monotonic() - began > limit
            if cut:
                _end(child)
        failed = child.returncode not in {0, stopped}
        status = "cut" if cut or child.returncode == stopped else "failed" if failed else "done"
        self.record(name, status, time.monotonic() - began, log.read_text(errors="replace")[-1500:])

    def record(self, name: str, status: str, seconds: float, output: str) -> None:
        """Record how a stage ended."""
        self.report["stages"].append({"stage": name, "status": status, "seconds": round(seconds, 1), "output": output})
        sys.stdout.write(f"{name}: {status} after {seconds:.1f} s\n{output if status == 'failed' else ''}")
        sys.stdout.flush()
        self.save()

    def save(self) -> None:
        """Write the results so far."""
        (self.out / "proof.json").write_text(json.dumps(self.report, indent=1) + "\n")
        self.collect()

    def collect(self) -> None:
        """Copy the results next to the report, each under its stage's name."""
        for folder in ("bench", "bench-everything", "study"):
            for pattern in ("bench-*.json", "study.json", "report.html", "report.md"):
                for path in (self.work / folder).glob(pattern):
                    with contextlib.suppress(OSError):  # the file is just being replaced
                        shutil.copyfile(path, self.out / f"{folder}-{path.name}")

    def versions(self) -> dict[str, Any]:
        """Return the versions and the GPU on which the proof runs."""
        code = (
            "import json, platform, torch, ultralytics; c = torch.cuda; "
            "print(json.dumps({'python': platform.python_version(), 'torch': torch.__version__, "
            "'ultralytics': ultralytics.__version__, "
            "'gpu': c.get_device_name() if c.is_available() else None, 'cuda': torch.version.cuda}))"
        )
        environment = {**self.environment, "YOLO_OFFLINE": "True", "YOLO_CONFIG_DIR": str(self.work / "config")}
        found = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        try:
            return dict(json.loads(found.stdout.splitlines()[-1]))
        except (IndexError, ValueError):
            return {"error": found.stderr[-500:]}


def _epoch_seconds(folder: Path) -> float | None:
    """Return the duration of a run's last epoch, seconds; None if it was stopped before the first one ended."""
    file = folder / "metrics.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    seconds = [float(line["seconds"]) for line in lines if "seconds" in line]
    return max(0.05, seconds[-1]) if seconds else None


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Ask a stage to stop, and kill its whole process group if it does not."""
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def main() -> int:
    """Run the proof."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, help="default: 840, of a toy 280")
    parser.add_argument("--pieces", type=Path, help="what prepare.py wrote")
    parser.add_argument("--dataset", type=Path, help="default: the pieces', or synthetic scenes")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu-proof-results")
    parser.add_argument("--only", nargs="+", choices=STAGES, default=STAGES, help="such as `study` in a second try")
    parser.add_argument("--toy", action="store_true", help="small sizes on the CPU")
    options = parser.parse_args()
    has_gpu = subprocess.run([sys.executable, "-c", "import sys, torch; sys.exit(not torch.cuda.is_available())"],
                             capture_output=True, check=False).returncode == 0  # fmt: skip
    if not has_gpu and not options.toy:
        sys.stdout.write("No GPU found: running in toy size on the CPU.\n")
    size = REAL if has_gpu and not options.toy else TOY
    options.seconds = options.seconds or (840 if size is REAL else 280)
    return Proof(options, size).run()


if __name__ == "__main__":
    sys.exit(main())
