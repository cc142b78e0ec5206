"""What other processes of the same user see of a process of the service, and what a confined one may touch."""

import ctypes
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rdrkd.process import trainer_sandbox
from rdrkd.process.secret_hiding import own_folder

ROOT = Path(__file__).resolve().parents[3]
SECRET = "s3cret-7f3a"
# Root may look at anything: where the tests are root's, these processes are without what that takes.
PTRACE = {"SYS_PTRACE": 19, "SYS_ADMIN": 21, "PERFMON": 38}  # linux/capability.h
_PR_CAPBSET_DROP = 24  # linux/prctl.h
linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc and Landlock are Linux's")
landlock = pytest.mark.skipif(not trainer_sandbox.supported(), reason="this kernel has no Landlock")


def without_ptrace() -> None:
    for capability in PTRACE.values():
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


SEALED = """
import os, sys, time
from rdrkd.process.secret_hiding import seal
seal()
print(os.environ["RDRKD_TOKEN"], os.environ["HARMLESS"], flush=True)
time.sleep(60)
"""
# A stranger's code in a trainer: whatever it can get hold of, as JSON.
THIEF = """
import json, os, signal, sys
from pathlib import Path
def taken(path, mode="rb"):
    try:
        with open(path, mode) as file:
            return file.read(2**16).decode(errors="replace") if mode == "rb" else file.write("x")
    except OSError:
        return None
data, parent = Path(sys.argv[1]), os.getppid()
processes = [entry for entry in os.listdir("/proc") if entry.isdecimal() and int(entry) != os.getpid()]
found = {str(path): taken(path) for path in data.rglob("*") if path.is_file()}
found |= {f"{process} environ": taken(f"/proc/{process}/environ") for process in processes}
found |= {f"{parent} {what}": taken(f"/proc/{parent}/{what}") for what in ("mem", "maps", "auxv")}
try:
    os.kill(parent, 0)
    found["signal"] = "may be sent"
except PermissionError:
    pass
for path in (data / "new", data / "rdrkd.db", data.parent / "new"):
    found[f"write {path}"] = taken(path, "a")
Path("mine").write_text("my own folder")
Path(data, "cache", "shared").write_text("the cache")
print(json.dumps({"taken": {name: what for name, what in found.items() if what}, "input": taken(sys.argv[2])}))
"""
WORKER = """
import sys
from pathlib import Path
from rdrkd.process.secret_hiding import seal
seal()
from worker.process import Child
data = Path(sys.argv[1])
home = data / "runs" / "job_1" / "attempt-1"
command = [sys.executable, "-c", sys.argv[2], str(data), str(data / "storage" / "input.zip")]
child = Child(command, home, home / "trainer.log", hidden=[data, data.parent / "secrets"], writable=[data / "cache"])
for line in child.lines():
    print(line.decode(), end="", flush=True)
child.wait()
print((home / "trainer.log").read_text(), file=sys.stderr)
"""


def run(program: str, *arguments: str | Path, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", program, *map(str, arguments)]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"} | environment
    options = {"preexec_fn": without_ptrace, "stdout": subprocess.PIPE, "text": True, "cwd": "/"}
    return subprocess.Popen(command, env=env, **options)


@linux
def test_secrets_leave_the_environment_that_others_see_and_nobody_looks_in() -> None:
    process = run(SEALED, RDRKD_TOKEN=SECRET, HARMLESS="value")
    try:
        assert process.stdout is not None
        assert process.stdout.readline().split() == [SECRET, "value"]  # it has them itself
        look = "import sys; print(open(sys.argv[1], 'rb').read())"
        other = run(look, f"/proc/{process.pid}/environ")
        assert (other.communicate()[0], other.returncode) == ("", 1)
        if os.geteuid() == 0:  # root looks in
            seen = Path(f"/proc/{process.pid}/environ").read_bytes()
            assert (SECRET.encode() in seen, b"HARMLESS=value" in seen) == (False, True)
    finally:
        process.kill()
        process.communicate()


@linux
@landlock
def test_a_trainer_takes_nothing_but_its_input(tmp_path: Path) -> None:
    data, secrets = tmp_path / "var", tmp_path / "secrets"
    run_folder = data / "runs" / "job_1" / "attempt-1"
    for path in (data / "storage", secrets, run_folder, data / "runs" / "job_2"):
        path.mkdir(parents=True)
    (data / "storage" / "input.zip").write_text("its input")
    for path in (data / "rdrkd.db", data / "storage" / "other.zip", secrets / "token", data / "runs/job_2/spec"):
        path.write_text(SECRET)

    worker = run(WORKER, data, THIEF, RDRKD_TOKEN=SECRET, RDRKD_DATABASE_URL=f"postgresql://u:{SECRET}@h/n")
    [found] = map(json.loads, (worker.communicate(timeout=60)[0]).splitlines())

    assert found["input"] == "its input"
    own = {name for name in found["taken"] if name.startswith(str(run_folder)) or "/input.zip" in name}
    mine = {name: what for name, what in found["taken"].items() if name not in own}
    assert {name: what for name, what in mine.items() if not name.endswith("environ") or SECRET in what} == {}
    assert (data / "cache" / "shared").read_text() == "the cache"
    assert (data / "rdrkd.db").read_text() == SECRET


@landlock
def test_what_is_confined_still_works_and_cannot_get_out(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "link").symlink_to("/etc/passwd")
    (home / "way").symlink_to(tmp_path / "hidden")
    (tmp_path / "hidden" / "x").write_text(SECRET)
    program = """
import os, subprocess, sys
os.rename(os.open("a", os.O_CREAT) and "a", "b"); os.makedirs("c"); os.rename("b", "c/b"); os.truncate("c/b", 0)
open("/dev/null", "w").write("x"); open("/etc/passwd").read(1)
print(subprocess.run(["cat", "way/x"], capture_output=True).returncode, len(os.listdir("/proc/self/fd")) > 0)
try: os.link("way/x", "d")
except OSError as error: print(type(error).__name__)
"""
    confined = trainer_sandbox.Confinement([str(tmp_path / "hidden")], [], [str(home)]).of(
        [sys.executable, "-c", program]
    )

    done = subprocess.run(confined, cwd=home, capture_output=True, text=True, timeout=60)

    assert (done.stdout.split()[:2], done.stderr) == (["1", "True"], "")
    assert not (home / "d").exists()


def test_a_folder_that_others_could_read_is_closed(tmp_path: Path) -> None:
    old = tmp_path / "var"
    old.mkdir(mode=0o755)
    (old / "storage").mkdir(mode=0o755)
    (old / "rdrkd.db").write_text("rows")
    (old / "rdrkd.db").chmod(0o644)
    (old / "run.sh").write_text("")
    (old / "run.sh").chmod(0o755)
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "elsewhere").chmod(0o644)
    (old / "link").symlink_to(tmp_path / "elsewhere")

    own_folder(old)
    own_folder(tmp_path / "new" / "deep")

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (old, *old.iterdir())}
    assert modes == {"var": 0o700, "storage": 0o700, "rdrkd.db": 0o600, "run.sh": 0o700, "link": 0o644}
    assert stat.S_IMODE((tmp_path / "new" / "deep").stat().st_mode) == 0o700


@pytest.mark.parametrize("planted", ["rdrkd-ultralytics-{uid}", "rdrkd-ultralytics-{uid}/settings.json"])
def test_nothing_is_written_through_a_link_in_the_temporary_folder(tmp_path: Path, planted: str) -> None:
    shared, target = tmp_path / "tmp", tmp_path / "roots"
    place = shared / planted.format(uid=os.geteuid())
    place.parent.mkdir(parents=True)
    target.mkdir() if "json" not in planted else target.write_text("important")
    place.symlink_to(target)
    program = "from rdrkd.process import environment; environment.apply(); import os, pathlib;"
    program += "f = pathlib.Path(os.environ['YOLO_CONFIG_DIR']); print(f); (f / 'settings.json').write_text('x');"
    program += "print(oct(f.stat().st_mode & 0o777))"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(shared)}

    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)

    used, mode = done.stdout.split()
    assert (mode, Path(used).exists()) == ("0o700", False)
    assert target.read_text() == "important" if target.is_file() else not any(target.iterdir())
