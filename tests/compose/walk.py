"""Build the containers, walk submit -> train -> distil -> download through them, and take them down again.

`make compose-test` runs it. Needs a Docker engine with Compose v2. Without an NVIDIA GPU the CPU form is used;
TORCH and CPU_TORCH choose the worker's torch, as for `make install`.
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ("rdrkd-api", "rdrkd-worker")
PATIENCE = 900  # seconds for one job
TRAIN = {
    "epochs": 2,
    "imgsz": 128,
    "batch": 8,
    "workers": 0,
    "optimizer": "AdamW",
    "lr0": 0.002,
    "mosaic": 0.0,
    "warmup_epochs": 0.5,
}
# What a stranger does with the weights: plain Ultralytics, nothing of ours.
PREDICT = """
import sys, numpy
open('/tmp/student.pt', 'wb').write(sys.stdin.buffer.read())
from ultralytics import YOLO
model = YOLO('/tmp/student.pt')
result = model.predict(numpy.full((128, 128, 3), 114, 'uint8'), imgsz=128, verbose=False)[0]
assert not [name for name in sys.modules if name.split('.')[0] in ('rdrkd', 'api', 'worker')]
parameters = sum(p.numel() for p in model.model.parameters())
print(f'plain Ultralytics: {parameters} parameters, {sorted(result.names.values())}')
"""


# What a trainer with a stranger's code would do: read a secret or the worker's memory, change the programs.
TAKE = """
import os, sys
from api.settings import Settings
from worker.process import Child
from worker.workplace import Workplace
place = Workplace.open(Settings())
home = place.folder('job_walk', 1)
home.mkdir(parents=True)
code = '''
import os, sys
def taken(path, mode):
    try:
        with open(path, mode):
            return True
    except OSError:
        return False
parent = os.getppid()
read = ['/run/secrets/rdrkd_database_url', f'/proc/{parent}/mem', f'/proc/{parent}/environ', '/proc/1/environ']
print([p for p in read if taken(p, 'rb')] + [p for p in ('/opt/venv/x', '/var/lib/rdrkd/x') if taken(p, 'w')])
'''
child = Child([sys.executable, '-c', code], home, home / 'log', hidden=place.hidden, writable=[place.cache])
sys.stdout.write(b''.join(child.lines()).decode())
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def has_gpu() -> bool:
    return (
        shutil.which("nvidia-smi") is not None and subprocess.run(["nvidia-smi"], capture_output=True).returncode == 0
    )


class Stack:
    """The containers, under a project name, volumes and a port of their own."""

    def __init__(self) -> None:
        files = ["docker-compose.yml"] if has_gpu() else ["docker-compose.yml", "docker-compose.cpu.yml"]
        self.port = free_port()
        self._command = ["docker", "compose", "--project-name", "rdrkd-test", *(f"--file={name}" for name in files)]
        self._env = os.environ | {"RDRKD_PORT": str(self.port)}

    def __call__(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*self._command, *arguments], cwd=ROOT, env=self._env, check=True, **options)


class Watch:
    """Prints each step with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"[{time.monotonic() - self._start:6.1f} s] {text}", flush=True)


def scenes(folder: Path) -> Path:
    """Generate tiny scenes and give them as a zip."""
    command = [
        sys.executable,
        "-m",
        "rdrkd",
        "scenes",
        folder / "scenes",
        "--profile=demo",
        "--images=32",
        "--imgsz=128",
    ]
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True)
    archive = folder / "scenes.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for path in sorted((folder / "scenes").rglob("*")):
            target.write(path, path.relative_to(folder))
    return archive


def wait(client: httpx2.Client, address: str, states: dict[str, bool], say: Watch) -> dict[str, Any]:
    """Poll until the resource reaches one of `states` (state -> is it the good one); tell each change."""
    seen, deadline = None, time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        body: dict[str, Any] = client.get(address).raise_for_status().json()
        now = (body["status"], body.get("phase"), body.get("epoch"))
        if now != seen:
            say(f"{address}: {' '.join(str(part) for part in now if part)}")
            seen = now
        if body["status"] in states:
            assert states[body["status"]], json.dumps(body, indent=2)
            return body
        time.sleep(1)
    raise TimeoutError(f"{address} was still {seen} after {PATIENCE} s")


def submit(client: httpx2.Client, **spec: Any) -> str:
    answer = client.post("/v1/jobs", json=spec)
    assert answer.status_code == 202, answer.text
    return str(answer.headers["location"])


def download(client: httpx2.Client, job: str, say: Watch) -> bytes:
    """Fetch a job's weights; they are what the ETag and the result say."""
    answer = client.get(f"{job}/weights").raise_for_status()
    sha256 = hashlib.sha256(answer.content).hexdigest()
    assert sha256 in answer.headers["etag"]
    assert sha256 == client.get(job).json()["result"]["weights"]["student.pt"]["sha256"]
    say(f"{job}/weights: {len(answer.content)} bytes, sha256 {sha256[:16]}")
    return answer.content


def walk(stack: Stack, say: Watch) -> None:
    token = (ROOT / "secrets" / "rdrkd_token").read_text().strip()
    base = f"http://127.0.0.1:{stack.port}"
    assert httpx2.get(f"{base}/v1/jobs").status_code == 401
    with (
        tempfile.TemporaryDirectory() as folder,
        httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client,
    ):
        say(f"version {client.get('/v1/version').raise_for_status().json()}")
        with scenes(Path(folder)).open("rb") as archive:
            answer = client.post("/v1/datasets", files={"file": ("scenes.zip", archive)}, data={"name": "tiny scenes"})
        assert answer.status_code == 202, answer.text
        dataset = answer.json()["id"]
        teacher = submit(
            client, kind="train", name="teacher", model={"architecture": "yolov8n"}, dataset=dataset, train=TRAIN
        )
        # Submitted at once: it waits for the teacher.
        student = submit(
            client,
            kind="distill",
            name="student",
            teacher={"job": teacher.rsplit("/", 1)[-1]},
            student={"architecture": "yolov8n-half"},
            dataset=dataset,
            train=TRAIN,
        )
        wait(client, f"/v1/datasets/{dataset}", {"ready": True, "invalid": False}, say)
        ends = {"succeeded": True, "failed": False, "cancelled": False}
        wait(client, teacher, ends, say)
        result = wait(client, student, ends, say)["result"]
        say(f"student: {result['student']}, COCO {result['metrics']['coco']}")
        epochs = client.get(f"{student}/metrics").raise_for_status().json()["data"]
        assert [epoch["epoch"] for epoch in epochs] == [1, 2]
        assert {"regenerated", "decoupled", "responsive"} <= epochs[-1]["losses"].keys()
        big, small = download(client, teacher, say), download(client, student, say)
        assert len(small) < len(big)
        predicted = stack("exec", "-T", "inspector", "python", "-c", PREDICT, input=small, capture_output=True)
        say(predicted.stdout.decode().splitlines()[-1])
        stranger = stack("exec", "-T", "redis", "redis-cli", "ping", capture_output=True).stdout
        assert b"NOAUTH" in stranger, stranger
        taken = stack("exec", "-T", "inspector", "python", "-c", TAKE, capture_output=True).stdout.decode()
        assert taken.strip() == "[]", taken
        say("a confined process reads no secret and changes no program")


def main() -> None:
    if shutil.which("docker") is None:
        sys.exit("expected a Docker engine with Compose v2, got no `docker` in PATH")
    say, stack = Watch(), Stack()
    try:
        stack("build")
        say("built")
        stack("up", "--detach", "--wait", "--wait-timeout", "300")
        say(f"up on port {stack.port}")
        walk(stack, say)
        stack("ps", "--all")
    except BaseException:
        stack("ps", "--all")
        stack("logs", "--tail", "60")
        raise
    finally:
        stack("down", "--volumes", "--timeout", "30")
    sizes = ["docker", "image", "ls", "--format", "{{.Repository}} {{.Size}}"]
    lines = subprocess.run(sizes, check=True, capture_output=True, text=True).stdout.splitlines()
    for line in lines:
        if line.split()[0] in IMAGES:
            say(f"image {line}")
    say("passed")


if __name__ == "__main__":
    main()
